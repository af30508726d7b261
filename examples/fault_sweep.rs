//! s
#![allow(clippy::all, clippy::unwrap_used, unused)]
use consumer_group::sim::*;
fn main() {
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let from: u64 = std::env::args().nth(2).map_or(0, |s| s.parse().unwrap());
    let sim = stock();
    let t = std::time::Instant::now();
    let mut bad = 0; let mut entries=0; let mut fired=0;
    for s in from..from+n {
        let plan = PlanShape::default().plan(s);
        let h = sim.run(&plan).unwrap();
        entries += h.entries.len();
        fired += h.faults.iter().filter(|f| f.fired.is_some()).count();
        let v = check(&h);
        if !v.is_empty() { bad += 1; if bad < 12 { println!("{s}: {}", v.iter().map(|v| v.to_string()).collect::<Vec<_>>().join(" | ")); } }
        if n == 1 { for e in &h.entries { println!("{} {:?}", e.at, e.what); } println!("{:?} trace {:016x}", h.end, h.trace());}
    }
    println!("{n} seeds, {bad} bad, {} entries, {} fired, {:?} each", entries as u64/n, fired as u64/n, t.elapsed()/n as u32);
}
