//! How RocksDB is tuned, and why.
//!
//! Knows nothing of what is written.

use rocksdb::BlockBasedOptions;
use rocksdb::Cache;
use rocksdb::ColumnFamilyDescriptor;
use rocksdb::DBCompressionType;
use rocksdb::DBRecoveryMode;
use rocksdb::Env;
use rocksdb::LogLevel;
use rocksdb::Options;

use super::engine::Instance;
use crate::store::Space;
use crate::store::StoreError;

const MIB: usize = 1 << 20;

/// Uncompressed blocks, filters and indexes of both instances, all generations.
const BLOCK_CACHE_BYTES: usize = 32 * MIB;

/// How many bytes of events are compressed together.
const EVENTS_TOGETHER: usize = 64 << 10;

/// What the instances of one node share.
#[derive(Clone)]
pub(super) struct Shared {
    /// One, so that its size bounds the sum.
    cache: Cache,
    /// `None`: those of the operating system.
    files: Option<Env>,
}

impl Shared {
    pub(super) fn new(files: Option<Env>) -> Self {
        Self { cache: Cache::new_lru_cache(BLOCK_CACHE_BYTES), files }
    }
}

/// The options of a whole instance.
pub(super) fn instance(which: Instance, create: bool, shared: &Shared) -> Result<Options, StoreError> {
    // A close is no more than a crash: what was to survive has been flushed by someone who could
    // be told of a failure, which a destructor cannot. The crate has no setter for it.
    let mut options = Options::default()
        .get_options_from_string("avoid_flush_during_shutdown=true")
        .map_err(|error| StoreError::new("set the options of RocksDB", error))?;
    if let Some(files) = &shared.files {
        options.set_env(files);
    }
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_paranoid_checks(true);
    // The default mode stops at the first bad record and forgets, silently, all that come after.
    // This one forgives only what looks like a write cut short. A damaged length in the last 32 KiB
    // block looks like that too; no mode that survives a real torn write can tell the two apart.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_max_manifest_file_size(16 * MIB);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MIB);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    match which {
        // Meta is written rarely, so its memtable would pin every WAL since; this flushes it.
        Instance::Log => options.set_max_total_wal_size(128 * MIB as u64),
        // Without a WAL this is what makes the state on disk one moment of all spaces.
        Instance::State => options.set_atomic_flush(true),
    }
    Ok(options)
}

/// The column families of an instance: RocksDB's own, which stays empty, and one per space.
pub(super) fn columns(which: Instance, Shared { cache, .. }: &Shared) -> Vec<ColumnFamilyDescriptor> {
    let unused = ColumnFamilyDescriptor::new("default", column(which, Space::Meta, cache));
    let used = which.spaces().iter().map(|&space| {
        ColumnFamilyDescriptor::new(super::engine::column_name(space), column(which, space, cache))
    });
    std::iter::once(unused).chain(used).collect()
}

fn column(which: Instance, space: Space, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_compression_type(match (which, space) {
        // Entries are binary and gone within minutes: compressing them took 8 % of all CPU.
        (Instance::Log, _) => DBCompressionType::None,
        // Kept for ever, and much the same from one to the next.
        (Instance::State, Space::Events) => DBCompressionType::Zstd,
        (Instance::State, _) => DBCompressionType::Lz4,
    });
    if space == Space::Events {
        // Level 1 instead of 3, and else what is usual: flushing them is most of what RocksDB does behind
        // the back of those who write.
        options.set_compression_options(-14, 1, 0, 0);
    }
    // Memtables are allocated as they fill: an idle node pays for none of this. An atomic flush
    // empties all spaces when one is full, so Meta, which every write touches, is not the small one.
    options.set_write_buffer_size(match space {
        Space::Meta => 16 * MIB,
        Space::Rows | Space::Views => 32 * MIB,
        Space::Entries | Space::Events => 64 * MIB,
    });
    options.set_max_write_buffer_number(3);

    let mut blocks = BlockBasedOptions::default();
    if space == Space::Events {
        // Read in long runs, from which nobody comes back: each read comes from the file, and its
        // checksum is looked at.
        blocks.disable_cache();
    } else {
        blocks.set_block_cache(cache);
        // Otherwise indexes and filters of open files lie outside of the cache, without a bound.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    }
    blocks.set_format_version(6);
    match space {
        // What is compressed together: events are read in long runs.
        Space::Events => blocks.set_block_size(EVENTS_TOGETHER),
        // They are asked for single records which may not be there.
        Space::Views => blocks.set_bloom_filter(10.0, false),
        // Rows are only ever read from one end to the other.
        Space::Meta | Space::Entries | Space::Rows => {}
    }
    options.set_block_based_table_factory(&blocks);
    options
}
