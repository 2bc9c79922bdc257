//! In the place of Redis, where this was built without it: there is none.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{Created, Unavailable};
use crate::{
    calls::{Millis, Record, Timing},
    limits::Counters,
};

/// No value of it can be made.
#[derive(Debug)]
pub enum Redis {}

impl Redis {
    pub(super) fn new(_url: &str, _prefix: &str, _timing: Timing) -> Result<Self, Unavailable> {
        Err(Unavailable("this program was built without the feature `redis`".to_owned()))
    }

    pub(super) async fn create(&self, _record: Record) -> Result<Created, Unavailable> {
        match *self {}
    }

    pub(super) async fn get(&self, _id: Uuid) -> Result<Option<Record>, Unavailable> {
        match *self {}
    }

    pub(super) async fn find_hook(&self, _hook: &str) -> Result<Option<Uuid>, Unavailable> {
        match *self {}
    }

    pub(super) async fn replace(&self, _next: Record) -> Result<Option<Record>, Unavailable> {
        match *self {}
    }

    pub(super) async fn changed(&self, _id: Uuid, _version: u64, _limit: Duration) {
        match *self {}
    }

    pub(super) async fn due(&self, _now: Millis) -> Result<Vec<Uuid>, Unavailable> {
        match *self {}
    }

    pub(super) fn counters(&self) -> Arc<dyn Counters> {
        match *self {}
    }

    pub(super) async fn ready(&self) -> Result<(), Unavailable> {
        match *self {}
    }
}
