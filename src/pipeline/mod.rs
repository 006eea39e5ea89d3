//! Floor 4: what a request is while it walks, and what may touch it.

pub mod answer;
pub mod body;
pub mod browser;
pub mod conditions;
pub mod connection;
pub mod exchange;
pub mod field_set;
pub mod fields;
pub mod file_path;
pub mod files;
pub mod keep_alive;
pub mod local;
pub mod media_type;
pub mod pace;
pub mod passing;
pub mod pattern;
pub mod ranges;
pub mod redirect;
pub mod settings;
pub mod step;
pub mod template;
pub mod trace;
pub mod upload;
pub mod variable;
