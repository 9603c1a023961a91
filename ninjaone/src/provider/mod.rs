//! NinjaOne from outside: its hosts, its token endpoint, and what each answer means.
