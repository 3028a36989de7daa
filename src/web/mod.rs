//! Pages and numbers for the people of the house; never for strangers.

pub mod audience;
pub mod metrics;
pub mod status;
