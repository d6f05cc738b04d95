//! The permission mirror against a cloud that signs, on a disk that forgets: what it takes up, what it
//! refuses, what it asks for, and what a crash, damage or a lost message leaves.

mod cloud;
mod converge;
mod damage;
mod edits;
mod emergency;
mod sentences;
mod thread;
mod told;
mod world;
