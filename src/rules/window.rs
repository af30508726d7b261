//! stub
#![allow(missing_docs)]
use crate::words::WindowConfig;
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    size: u32,
}
impl Window {
    pub fn new(c: &WindowConfig) -> Self {
        Self { size: c.max.min(16) }
    }
    pub fn size(&self) -> u32 {
        self.size
    }
    pub fn served(&mut self, _n: u32, _b: std::time::Duration) {}
    pub fn died(&mut self) {}
}
