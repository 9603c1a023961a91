//! Sealing: the key ring, sealed blobs bound to their place, keyed fingerprints.
