use std::fs;

use tempfile::TempDir;

use super::*;
use crate::calls::{Event, HookIds, Plan, State, transition};

const NOW: Millis = 1_000_000;

fn call(id: u128, number: &str) -> Record {
    let plan = Plan {
        to: "+46701234567".to_owned(),
        caller_id: "main".to_owned(),
        from: "+46766860000".to_owned(),
        number: number.to_owned(),
    };
    let hooks = HookIds { voice: format!("v{id}"), hangup: format!("h{id}") };
    Record::dialling(Uuid::from_u128(id), "alice", plan, "nonce".to_owned(), hooks, NOW)
}

async fn add(store: &Store, record: Record) -> Record {
    match store.create(record).await.unwrap() {
        Created::New(record) => record,
        other => panic!("{other:?}"),
    }
}

async fn on(store: &Store, record: &Record, event: Event, now: Millis) -> Option<Record> {
    let (next, _) = transition(record, &event, now, &Timing::default());
    store.replace(next, Durability::Durable).await.unwrap()
}

#[tokio::test]
async fn of_two_writes_of_one_version_one_counts() {
    let store = Store::memory(Timing::default());
    let record = add(&store, call(1, "+4600100100")).await;
    let first = on(&store, &record, Event::Cancel, NOW + 1).await.unwrap();
    assert!(on(&store, &record, Event::Claim { hash: None }, NOW + 1).await.is_none());
    assert_eq!(store.get(record.call_id).await.unwrap().unwrap(), first);
}

#[tokio::test]
async fn a_number_is_taken_until_its_call_ends() {
    let store = Store::memory(Timing::default());
    let record = add(&store, call(1, "+4600100100")).await;
    assert!(matches!(store.create(call(2, "+4600100100")).await.unwrap(), Created::Busy));
    assert!(matches!(store.create(call(1, "+4600100101")).await.unwrap(), Created::Existing(_)));
    add(&store, call(3, "+4600100101")).await;
    on(&store, &record, Event::NotSent, NOW + 1).await.unwrap();
    add(&store, call(2, "+4600100100")).await;
}

#[tokio::test]
async fn what_is_due_is_told_and_what_is_old_is_forgotten() {
    let store = Store::memory(Timing::default());
    let record = add(&store, call(1, "+4600100100")).await;
    assert!(store.due(NOW + 24_999).await.unwrap().is_empty());
    assert_eq!(store.due(NOW + 25_000).await.unwrap(), [record.call_id]);
    let ended = on(&store, &record, Event::Tick, NOW + 25_000).await.unwrap();
    assert_eq!(ended.state, State::Failed);
    let forget_at = ended.forget_at(&Timing::default()).unwrap();
    assert!(store.due(forget_at - 1).await.unwrap().is_empty());
    assert_eq!(store.find_hook("v1").await.unwrap(), Some(record.call_id));
    assert!(store.due(forget_at).await.unwrap().is_empty());
    assert_eq!(store.get(record.call_id).await.unwrap(), None);
    assert_eq!(store.find_hook("v1").await.unwrap(), None);
}

#[tokio::test]
async fn a_journal_is_read_again_and_kept_short() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let store = Store::journalled(&path, Timing::default(), NOW).unwrap();
    let mut record = add(&store, call(1, "+4600100100")).await;
    for at in 0..25_000 {
        let (next, _) = transition(&record, &Event::Seen, NOW + at, &Timing::default());
        record = store.replace(next, Durability::Relaxed).await.unwrap().unwrap();
    }
    store.barrier().await.unwrap();
    let lines = fs::read_to_string(&path).unwrap().lines().count();
    assert!(lines < 10_001, "{lines}");
    let tomb = add(&store, Record::tombstone(Uuid::from_u128(2), "alice", NOW)).await;
    assert!(Store::journalled(&path, Timing::default(), NOW).is_err(), "it is locked");
    drop(store);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    // The thread that holds the lock ends just after the store.
    let store = loop {
        match Store::journalled(&path, Timing::default(), NOW + 30_000) {
            Ok(store) => break store,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let found = store.get(record.call_id).await.unwrap().unwrap();
    assert_eq!((found.version, found.seen_at, found.outcome_unknown), (record.version, NOW + 30_000, true));
    assert_eq!(store.get(tomb.call_id).await.unwrap().unwrap(), tomb);
    assert_eq!(store.taken_up().0, 1);
    assert!(matches!(store.create(call(3, "+4600100100")).await.unwrap(), Created::Busy));
    store.barrier().await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_journal_that_fails_stops_everything() {
    let folder = TempDir::new().unwrap();
    // The file beside it, which is to take its place, can't be written.
    fs::create_dir(folder.path().join("journal.new")).unwrap();
    let store = Store::journalled(&folder.path().join("journal"), Timing::default(), NOW).unwrap();
    assert!(store.create(call(1, "+4600100100")).await.is_err());
    assert!(store.ready().await.is_err());
    assert!(store.barrier().await.is_err());
    assert!(store.create(call(2, "+4600100101")).await.is_err());
}

#[tokio::test]
async fn a_damaged_journal_is_refused_without_what_it_says() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal");
    for line in
        [r#"{"write":{"version":"+46701234567"}}"#, r#"{"forget":"+46701234567"}"#, r#"{"+46701234567":1}"#]
    {
        fs::write(&path, format!("{line}\n")).unwrap();
        let error = Store::journalled(&path, Timing::default(), NOW).unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("4670"), "{error}");
    }
}
