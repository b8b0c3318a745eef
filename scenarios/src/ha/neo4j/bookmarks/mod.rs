//! Does a read that carries a bookmark see the write on every server?

mod course;
mod freshness;
mod lag;
mod scenario;

pub use scenario::BOOKMARKS;
