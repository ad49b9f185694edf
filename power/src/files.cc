// Files that forget what was not synced: RocksDB's own, made for its tests. Appended bytes stay in the memory of
// the process until they are synced, so they are gone when it ends, however it ends.

#include <memory>

#include "rocksdb/env.h"
#include "utilities/fault_injection_fs.h"

using ROCKSDB_NAMESPACE::Env;
using ROCKSDB_NAMESPACE::FaultInjectionTestFS;
using ROCKSDB_NAMESPACE::FileSystem;
using ROCKSDB_NAMESPACE::NewCompositeEnv;

// As it is in RocksDB's interface for C, which frees it.
struct rocksdb_env_t {
  Env* rep;
  bool is_default;
};

extern "C" rocksdb_env_t* quorate_files_that_forget() {
  auto files = std::make_shared<FaultInjectionTestFS>(FileSystem::Default());
  files->SetInjectUnsyncedDataLoss(true);
  return new rocksdb_env_t{NewCompositeEnv(files).release(), false};
}
