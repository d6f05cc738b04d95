//! The machines of the buses on a simulated RS-485 line with real byte timing: in virtual time, without any sleep,
//! and (in `ports`) the daemon's own loops on pseudo-terminals.

mod boards;
mod doors;
mod echo;
mod late;
mod ports;
mod reader_loop;
mod readers;
mod rig;
mod wire;
