//! Rotated pairs on the disk of the worker, from the reply of the provider to the durable commit.
