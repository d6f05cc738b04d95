//! Configuration: files to a checked [`site::Site`], every error at once.

pub mod site;
