//! The Engine API's wire types and version rules.
