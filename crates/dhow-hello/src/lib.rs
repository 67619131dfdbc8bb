//! The hello-world image, made from this source for every architecture.
