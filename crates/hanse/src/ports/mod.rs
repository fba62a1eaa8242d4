//! What the services need of each other, plugged into who has it.

mod image_store;

pub use image_store::NodeStore;
