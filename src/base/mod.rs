//! Floor 0: bounds, buffers and clocks. Knows neither HTTP nor the configuration language.

pub mod address;
pub mod base64;
pub mod buffer;
pub mod calendar;
pub mod cidr;
pub mod clock;
pub mod counters;
pub mod json;
pub mod limits;
pub mod process_settings;
