//! An RS-485 line with real byte timing: two wires, one master's port, several devices, and every byte takes its
//! time. Devices answer after their turnaround; who speaks at the same time as somebody else is understood by
//! nobody; noise turns bits; a device, or the master's port, can be unplugged.
//!
//! One model, two faces: [`Line`] knows time only as an argument, so that tests of the pure machines run in virtual
//! time, without any sleep; [`PtyLine`] lets it run by the clock behind a pseudo-terminal, for the daemon itself.
//! What was on the wire, and when, is in the [`Sent`] records: the truth that a benchmark compares with.

mod boards;
mod bus_master;
mod model;
mod osdp;
mod paced;
mod panel_master;
mod plan;
mod secure;
mod times;

pub use boards::BoardDevice;
pub use bus_master::{BusOnLine, Done};
pub use model::{Device, Line, Sender, Sent};
pub use osdp::{OsdpReader, READER_KEY};
pub use paced::PtyLine;
pub use panel_master::PanelOnLine;
pub use plan::{TIMEOUT, eight_of_each, plan_of};
pub use times::LineTimes;
