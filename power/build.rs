//! Compiles what makes the files, against the sources that RocksDB was compiled from.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/files.cc");
    // The crate says where they are.
    let crate_dir = std::env::var("DEP_ROCKSDB_CARGO_MANIFEST_DIR").expect("librocksdb-sys says where it is");
    let rocksdb = PathBuf::from(crate_dir).join("rocksdb");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").warnings(false).include(&rocksdb).include(rocksdb.join("include"));
    // Classes have other fields without them.
    for define in ["OS_LINUX", "ROCKSDB_PLATFORM_POSIX", "ROCKSDB_LIB_IO_POSIX", "HAVE_ALIGNED_NEW"] {
        build.define(define, None);
    }
    build.define("NDEBUG", "1").define("LZ4", "1").define("ZSTD", "1");
    build.file("src/files.cc").compile("quorate_files");
}
