//! The engines for the durable queue, side by side on the queue's own work: `cargo run --release -- [FOLDER]`.
//!
//! | work | one commit, with its fsync |
//! |---|---|
//! | records | 1,000 values of 100 bytes, a record each |
//! | chunks | 1,000 jobs of 130 bytes in one value, and a mark of 150 bytes |
//! | life | a chunk, its mark as leased, then chunk and mark deleted: what a job costs from push to ack |
//! | single | one job in a chunk of its own: the latency of one awaited send |
//!
//! Every figure is the median of five rounds; the engines take turns within a round.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

type Done<T> = Result<T, Box<dyn Error>>;

enum Op {
    Put(usize, u64, Vec<u8>),
    Delete(usize, u64),
}

trait Engine {
    fn commit(&mut self, ops: Vec<Op>) -> Done<()>;
}

struct Redb(redb::Database);

const TABLES: [redb::TableDefinition<'static, u64, &'static [u8]>; 2] =
    [redb::TableDefinition::new("chunks"), redb::TableDefinition::new("marks")];

impl Engine for Redb {
    fn commit(&mut self, ops: Vec<Op>) -> Done<()> {
        let writing = self.0.begin_write()?;
        {
            let mut tables = [writing.open_table(TABLES[0])?, writing.open_table(TABLES[1])?];
            for op in ops {
                match op {
                    Op::Put(table, key, value) => drop(tables[table].insert(key, value.as_slice())?),
                    Op::Delete(table, key) => drop(tables[table].remove(key)?),
                }
            }
        }
        writing.commit()?;
        Ok(())
    }
}

struct Fjall(fjall::Keyspace, [fjall::PartitionHandle; 2]);

impl Engine for Fjall {
    fn commit(&mut self, ops: Vec<Op>) -> Done<()> {
        let mut batch = self.0.batch();
        for op in ops {
            match op {
                Op::Put(table, key, value) => batch.insert(&self.1[table], key.to_be_bytes(), value),
                Op::Delete(table, key) => batch.remove(&self.1[table], key.to_be_bytes()),
            }
        }
        batch.commit()?;
        self.0.persist(fjall::PersistMode::SyncData)?;
        Ok(())
    }
}

struct Sqlite(rusqlite::Connection);

impl Engine for Sqlite {
    fn commit(&mut self, ops: Vec<Op>) -> Done<()> {
        let writing = self.0.transaction()?;
        for op in ops {
            match op {
                Op::Put(table, key, value) => writing
                    .prepare_cached(&format!("insert or replace into t{table} values (?1, ?2)"))?
                    .execute((key as i64, value))?,
                Op::Delete(table, key) => writing
                    .prepare_cached(&format!("delete from t{table} where k = ?1"))?
                    .execute([key as i64])?,
            };
        }
        writing.commit()?;
        Ok(())
    }
}

fn open(name: &str, folder: &Path) -> Done<Box<dyn Engine>> {
    Ok(match name {
        "redb" => Box::new(Redb(redb::Database::create(folder.join("db"))?)),
        "fjall" => {
            let keyspace = fjall::Config::new(folder).open()?;
            let part = |name| keyspace.open_partition(name, fjall::PartitionCreateOptions::default());
            let parts = [part("chunks")?, part("marks")?];
            Box::new(Fjall(keyspace, parts))
        }
        _ => {
            let connection = rusqlite::Connection::open(folder.join("db"))?;
            connection.execute_batch(
                "pragma journal_mode = wal; pragma synchronous = full;
                 create table t0 (k integer primary key, v blob); create table t1 (k integer primary key, v blob);",
            )?;
            Box::new(Sqlite(connection))
        }
    })
}

/// Jobs in one commit of all kinds but `single`.
const JOBS: u64 = 1_000;

fn work(kind: &str, engine: &mut dyn Engine, commits: u64, times: &mut Vec<Duration>) -> Done<()> {
    for n in 0..commits {
        let chunk = n * JOBS;
        let mut ops = match kind {
            "records" => (0..JOBS).map(|job| Op::Put(0, chunk + job, vec![7; 100])).collect(),
            "single" => vec![Op::Put(0, chunk, vec![7; 130]), Op::Put(1, chunk, vec![7; 24])],
            _ => vec![Op::Put(0, chunk, vec![7; 130_000]), Op::Put(1, chunk, vec![7; 150])],
        };
        if kind == "life" {
            if n >= 1 {
                ops.push(Op::Put(1, chunk - JOBS, vec![8; 150]));
            }
            if n >= 2 {
                ops.push(Op::Delete(0, chunk - 2 * JOBS));
                ops.push(Op::Delete(1, chunk - 2 * JOBS));
            }
        }
        let began = Instant::now();
        engine.commit(ops)?;
        times.push(began.elapsed());
    }
    Ok(())
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

fn fdatasync(folder: &Path) -> Done<Duration> {
    use std::io::Write as _;
    let mut file = fs::File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..500 {
        file.write_all(&[7; 150])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

fn main() -> Done<()> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    println!("{:<8} {:<8} {:>12} {:>12} {:>10}", "work", "engine", "jobs/s", "p50 us", "MB on disk");
    for (kind, commits) in [("records", 300), ("chunks", 1_000), ("life", 2_000), ("single", 1_000)] {
        let mut found = vec![Vec::new(); 3];
        for _ in 0..5 {
            for (engine, found) in ["redb", "fjall", "sqlite"].iter().zip(&mut found) {
                let folder = tempfile::tempdir_in(&base)?;
                let mut opened = open(engine, folder.path())?;
                let mut times = Vec::new();
                let began = Instant::now();
                work(kind, &mut *opened, commits, &mut times)?;
                let jobs = if kind == "single" { commits } else { commits * JOBS };
                let rate = jobs as f64 / began.elapsed().as_secs_f64();
                times.sort();
                found.push((rate as u64, times[times.len() / 2], size(folder.path())));
            }
        }
        for (engine, mut found) in ["redb", "fjall", "sqlite"].iter().zip(found) {
            found.sort();
            let (rate, p50, size) = found[2];
            println!("{kind:<8} {engine:<8} {rate:>12} {:>12} {:>10}", p50.as_micros(), size / 1_000_000);
        }
    }
    let folder = tempfile::tempdir_in(&base)?;
    println!("fdatasync of an append alone: p50 {} us", fdatasync(folder.path())?.as_micros());
    Ok(())
}
