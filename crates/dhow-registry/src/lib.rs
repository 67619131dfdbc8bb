//! A registry: the OCI distribution specification's server.
