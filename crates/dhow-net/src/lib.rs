//! Sandboxes, the bridge, addresses, published ports.
