use crate::config::site::Site;
#[derive(Debug, thiserror::Error)]
pub enum RunError { #[error("x")] X }
impl RunError { pub fn exit_code(&self) -> u8 { 1 } }
pub fn run(site: Site) -> Result<(), RunError> { let _ = site; Ok(()) }
