//! etcd as a quota ledger, as a user would write it today. One reservation reads the user and, with
//! `hier`, the team and the organization above, then writes all of them and an allocation in one
//! compare-and-swap transaction, and begins again when somebody was faster.
//!
//! usage: quorate-peer-etcd ENDPOINT,… CLIENTS SECONDS flat|hier USERS

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use etcd_client::Client;
use etcd_client::Compare;
use etcd_client::CompareOp;
use etcd_client::DeleteOptions;
use etcd_client::Txn;
use etcd_client::TxnOp;
use etcd_client::TxnOpResponse;
use hdrhistogram::Histogram;
use rand::Rng;

type Failure = Box<dyn Error + Send + Sync>;

const TEAMS: usize = 10;

#[derive(Clone)]
struct Work {
    is_whole_path: bool,
    users: usize,
    stop: Instant,
    conflicts: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoints, clients, seconds, path, users] = arguments.as_slice() else {
        return Err("usage: quorate-peer-etcd ENDPOINT,… CLIENTS SECONDS flat|hier USERS".into());
    };
    let endpoints: Vec<&str> = endpoints.split(',').collect();
    let (clients, seconds, users): (usize, u64, usize) = (clients.parse()?, seconds.parse()?, users.parse()?);
    plant(&endpoints, users).await?;

    let work = Work {
        is_whole_path: path == "hier",
        users,
        stop: Instant::now() + Duration::from_secs(seconds),
        conflicts: Arc::default(),
    };
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..clients {
        let client = Client::connect([endpoints[number % endpoints.len()]], None).await?;
        asking.spawn(ask(client, number, work.clone()));
    }
    let mut latency = Histogram::<u64>::new(3)?;
    while let Some(asked) = asking.join_next().await {
        latency.add(asked??)?;
    }
    println!(
        "reserves/s={:.0} conflicts/s={:.0} p50_us={} p99_us={}",
        latency.len() as f64 / seconds as f64,
        work.conflicts.load(Ordering::Relaxed) as f64 / seconds as f64,
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99),
    );
    Ok(())
}

async fn plant(endpoints: &[&str], users: usize) -> Result<(), Failure> {
    let mut client = Client::connect(endpoints, None).await?;
    client.delete("", Some(DeleteOptions::new().with_all_keys())).await?;
    let teams = (0..TEAMS).map(|team| format!("team/{team}"));
    let users = (0..users).map(|user| format!("user/{user}"));
    for key in ["org".to_owned()].into_iter().chain(teams).chain(users) {
        client.put(key, "0", None).await?;
    }
    Ok(())
}

async fn ask(mut client: Client, number: usize, work: Work) -> Result<Histogram<u64>, Failure> {
    let mut latency = Histogram::new(3)?;
    let mut serial = 0;
    while Instant::now() < work.stop {
        let user = rand::rng().random_range(0..work.users);
        let mut keys = vec![format!("user/{user}")];
        if work.is_whole_path {
            keys.extend([format!("team/{}", user % TEAMS), "org".to_owned()]);
        }
        let begun = Instant::now();
        loop {
            serial += 1;
            if reserve(&mut client, &keys, format!("allocation/{number}/{serial}")).await? {
                latency.saturating_record(begun.elapsed().as_micros() as u64);
                break;
            }
            work.conflicts.fetch_add(1, Ordering::Relaxed);
            if Instant::now() > work.stop {
                break;
            }
        }
    }
    Ok(latency)
}

/// Says whether nobody else was faster.
async fn reserve(client: &mut Client, keys: &[String], allocation: String) -> Result<bool, Failure> {
    let gets: Vec<TxnOp> = keys.iter().map(|key| TxnOp::get(key.clone(), None)).collect();
    let read = client.txn(Txn::new().and_then(gets)).await?;
    let (mut compares, mut puts) = (Vec::new(), Vec::new());
    for (key, answer) in keys.iter().zip(read.op_responses()) {
        let TxnOpResponse::Get(got) = answer else { return Err("etcd answers a get with something else".into()) };
        let value = got.kvs().first().ok_or("a key is missing")?;
        let used: u64 = value.value_str()?.parse()?;
        compares.push(Compare::mod_revision(key.clone(), CompareOp::Equal, value.mod_revision()));
        puts.push(TxnOp::put(key.clone(), (used + 1).to_string(), None));
    }
    puts.push(TxnOp::put(allocation, "1", None));
    Ok(client.txn(Txn::new().when(compares).and_then(puts)).await?.succeeded())
}
