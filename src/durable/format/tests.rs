//! Records come back as they were written. The corpus of the fuzz target is made of the same ones.

use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::types::{AttemptRecord, Cause, DeadReason, Incarnation, JobId, Key, Moment, ReplyTo, SlotId};

fn name(number: u128) -> JobId {
    JobId::from_uuid(Uuid::from_u128(number))
}

fn parts(payload: &[u8]) -> JobParts<'_> {
    JobParts {
        id: name(7),
        priority: 3,
        key: Some(Key::Text("host-7".into())),
        reply_to: Some(ReplyTo(9)),
        not_before: Some(1_700_000_000_000),
        expires_at: Some(1_800_000_000_000),
        dedup: Some(Key::Number(77)),
        payload,
    }
}

fn job() -> Vec<u8> {
    let mut bytes = Vec::new();
    parts(&[]).write_head(&mut bytes);
    bytes.extend_from_slice(b"{\"payload\":1}");
    bytes
}

fn chunk() -> Vec<u8> {
    let mut chunk = ChunkWriter::with_room(2, 100);
    chunk.add(&job());
    chunk.add(b"not a job");
    chunk.finish()
}

fn mark() -> Mark {
    let mut mark = Mark {
        priority: 3,
        jobs: 70,
        leased: 12,
        bytes: 9_000,
        ..Mark::default()
    };
    assert!(mark.set_gone(3) && mark.set_gone(69) && !mark.set_gone(3) && !mark.set_gone(1_000));
    mark
}

fn history() -> Vec<AttemptRecord> {
    vec![AttemptRecord {
        attempt: 1,
        slot: SlotId(2),
        incarnation: Incarnation(3),
        cause: Cause::Failed("no".into()),
        at: Moment::from_millis(1_700_000_000_001),
    }]
}

fn single(job: &[u8]) -> Single<'_> {
    Single {
        attempts: 2,
        tried: true,
        due: 1_700_000_000_002,
        history: history(),
        job,
    }
}

fn dead(job: &[u8]) -> Dead<'_> {
    Dead {
        at: 1_700_000_000_003,
        reason: DeadReason::Unreadable("why".into()),
        history: history(),
        job,
    }
}

fn accepted() -> Accepted {
    Accepted {
        at: 1_700_000_000_004,
        job: name(8),
        key: Key::Text("once".into()),
    }
}

#[test]
fn records_come_back_as_they_were_written() {
    let job = job();
    assert_eq!(JobParts::read(&job), Ok(parts(b"{\"payload\":1}")));
    let chunk = chunk();
    let found = read_chunk(&chunk).unwrap();
    assert_eq!(found, [Ok(job.as_slice()), Ok(b"not a job".as_slice())]);
    assert_eq!(Mark::read(&mark().write()), Ok(mark()));
    assert_eq!(
        (mark().left(), mark().is_gone(69), mark().is_gone(68)),
        (68, true, false)
    );
    assert_eq!(Single::read(&single(&job).write()), Ok(single(&job)));
    assert_eq!(Dead::read(&dead(&job).write()), Ok(dead(&job)));
    assert_eq!(Accepted::read(&accepted().write()), Ok(accepted()));
}

#[test]
fn a_damaged_job_of_a_chunk_leaves_its_neighbours_readable() {
    let mut chunk = chunk();
    let last = chunk.len() - 1;
    chunk[last] ^= 1;
    let found = read_chunk(&chunk).unwrap();
    assert_eq!(found, [Ok(job().as_slice()), Err(Damage::Checksum)]);
}

#[test]
fn a_record_of_a_later_version_is_told_as_such() {
    let mut record = mark().write();
    record[0] = 9;
    let body = record.len() - 4;
    let sum = bytes::checksum(&record[..body]);
    record[body..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Mark::read(&record), Err(Damage::Version(9)));
}

#[test]
fn the_corpus_of_the_fuzz_target_holds_these_records() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/records");
    let job = job();
    let records = [
        ("job", job.clone()),
        ("chunk", chunk()),
        ("mark", mark().write()),
        ("single", single(&job).write()),
        ("dead", dead(&job).write()),
        ("accepted", accepted().write()),
    ];
    for (name, record) in records {
        let path = folder.join(name);
        if std::env::var_os("WRITE_CORPUS").is_some() {
            std::fs::write(&path, &record).unwrap();
        }
        assert_eq!(
            std::fs::read(&path).ok().as_ref(),
            Some(&record),
            "{name}: run this test with WRITE_CORPUS=1"
        );
    }
}
