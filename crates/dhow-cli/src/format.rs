//! Output: tables, Go templates, amounts.

pub mod json;
pub mod table;
pub mod template;
pub mod text;
pub mod time;
pub mod units;
