//! A file that was changed: what was written, over what.

use std::{ops::Range, sync::Arc};

use crate::{
    cache::Content,
    error::Result,
    model::{extents::Extents, key::Key, version::Version},
    upload::{staging::Staging, stub::Stub},
};

/// The object below what was written.
#[derive(Clone, Debug)]
pub struct Base {
    pub key: Key,
    pub version: Version,
    pub content: Arc<Content>,
    /// Bytes of it that still show; shrinks when the file is truncated, and never grows again.
    pub len: u64,
}

/// What the bucket does not have.
#[derive(Debug)]
pub struct Dirty {
    pub staging: Staging,
    /// Bytes of the whole file.
    pub size: u64,
    pub base: Option<Base>,
    /// What was written and is in an upload under way alone: it cannot be read or changed before that has ended.
    pub away: Extents,
    /// What somebody wrote and there was no room for: with holes there, it is no file that anybody meant.
    pub lacks: Extents,
    /// Somebody set the mtime after the last write.
    pub time_set: bool,
    /// Names of writes that were sent, and nobody knows what became of them.
    pub unanswered: Vec<String>,
    /// The name must not exist in the bucket (`O_EXCL`).
    pub exclusive: bool,
    /// It was renamed since it was uploaded: what the bucket has at its name is to be replaced, whatever it is.
    pub moved: bool,
    /// The empty object that takes its name until there is content.
    pub stub: Option<Stub>,
}

/// Where the bytes of a range come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    Staged(Range<u64>),
    Base(Range<u64>),
    Zeros(Range<u64>),
    /// Nowhere here.
    Away(Range<u64>),
}

impl Piece {
    pub fn range(&self) -> &Range<u64> {
        match self {
            Self::Staged(range) | Self::Base(range) | Self::Zeros(range) | Self::Away(range) => range,
        }
    }
}

impl Dirty {
    pub fn new(staging: Staging, base: Option<Base>) -> Self {
        let size = base.as_ref().map_or(0, |base| base.len);
        let unanswered = Vec::new();
        Self {
            staging,
            size,
            base,
            away: Extents::default(),
            lacks: Extents::default(),
            time_set: false,
            unanswered,
            exclusive: false,
            moved: false,
            stub: None,
        }
    }

    /// With the standing in the bucket of the content that this takes the place of, which is dropped.
    #[must_use]
    pub fn in_place_of(mut self, former: Option<Self>) -> Self {
        if let Some(former) = former {
            self.unanswered = former.unanswered;
            self.exclusive = former.exclusive;
            self.moved = former.moved;
            self.stub = former.stub;
            former.staging.discard();
        }
        self
    }

    /// What was required, tried or taken was about the old name.
    pub fn renamed(&mut self, exclusive: bool) {
        self.exclusive = exclusive;
        self.moved = true;
        self.unanswered.clear();
    }

    /// The pieces of `range` in order, clipped to the size of the file.
    pub fn pieces(&self, range: Range<u64>) -> Vec<Piece> {
        let range = range.start.min(self.size)..range.end.min(self.size);
        let shown = self.base.as_ref().map_or(0, |base| base.len);
        let mut pieces = Vec::new();
        let mut at = range.start;
        for gap in self.staging.here().missing(range.clone()) {
            push(&mut pieces, Piece::Staged, at..gap.start);
            at = gap.start;
            for below in self.away.missing(gap.clone()).into_iter().chain([gap.end..gap.end]) {
                push(&mut pieces, Piece::Away, at..below.start);
                push(&mut pieces, Piece::Base, below.start..below.end.min(shown));
                push(&mut pieces, Piece::Zeros, below.start.max(shown)..below.end);
                at = below.end;
            }
        }
        push(&mut pieces, Piece::Staged, at..range.end);
        pieces
    }

    /// Ranges of the object below it that show, in order.
    pub fn unchanged(&self) -> Vec<Range<u64>> {
        let pieces = self.pieces(0..self.size);
        pieces.into_iter().filter_map(|piece| if let Piece::Base(range) = piece { Some(range) } else { None }).collect()
    }

    /// Frees the disk of what the server has as parts. Whether the disk lets it.
    pub fn release(&mut self, range: &Range<u64>) -> bool {
        let freed = self.staging.release(range);
        if freed {
            self.away.insert(range.clone());
        }
        freed
    }

    /// Makes a range that is inside the file read as zeros, which take no space.
    pub fn zero(&mut self, range: Range<u64>) -> Result<()> {
        self.staging.zero(range)
    }

    /// Whether it is nothing but the object below it, whole.
    pub fn is_copy(&self) -> bool {
        let whole = |base: &Base| base.len == self.size && base.version.size == self.size && self.size > 0;
        self.staging.here().is_empty() && self.away.is_empty() && self.base.as_ref().is_some_and(whole)
    }

    /// Sets the size; what comes into being reads as zeros.
    pub fn truncate(&mut self, size: u64) -> Result<()> {
        self.staging.truncate(size)?;
        self.away.truncate(size);
        if let Some(base) = &mut self.base {
            base.len = base.len.min(size);
        }
        self.lacks.truncate(size);
        self.size = size;
        Ok(())
    }
}

fn push(pieces: &mut Vec<Piece>, piece: impl Fn(Range<u64>) -> Piece, range: Range<u64>) {
    if range.start < range.end {
        pieces.push(piece(range));
    }
}
