//! The panel on a line in virtual time, with readers that follow a script: every fault that installers reported of
//! other panels has its sentence here.

mod faults;
mod hostile;
mod line;
mod odd;
mod plain;
mod points;
mod secure;

use std::time::Duration;

use self::line::{Line, Manner, Reader};
use super::{News, Protection};
