//! What a member says of itself.

use std::fmt;

use mongodb::bson::Document;

/// A member's role at one moment, from its answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberState {
    /// Takes writes.
    Primary,
    /// Holds a copy.
    Secondary,
    /// Has a vote and no data.
    Arbiter,
    /// Something that comes before or between these.
    Other(String),
}

impl MemberState {
    /// Reads the answer to `hello`.
    pub fn read(hello: &Document) -> Self {
        let is = |name: &str| hello.get_bool(name).unwrap_or(false);
        if is("isWritablePrimary") {
            Self::Primary
        } else if is("secondary") {
            Self::Secondary
        } else if is("arbiterOnly") {
            Self::Arbiter
        } else if is("isreplicaset") {
            Self::Other("not initiated".into())
        } else {
            Self::Other("starting or recovering".into())
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Arbiter => "arbiter",
            Self::Other(text) => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn every_role_is_told_apart() {
        assert_eq!(MemberState::read(&doc! { "isWritablePrimary": true, "secondary": false }), MemberState::Primary);
        assert_eq!(MemberState::read(&doc! { "isWritablePrimary": false, "secondary": true }), MemberState::Secondary);
        assert_eq!(MemberState::read(&doc! { "isWritablePrimary": false, "secondary": false, "arbiterOnly": true }), MemberState::Arbiter);
        assert!(matches!(MemberState::read(&doc! { "isreplicaset": true }), MemberState::Other(_)));
    }
}
