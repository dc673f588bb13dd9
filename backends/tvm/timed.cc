// Times a network on the device that runs it. TVM's own time_evaluator runs the network once before it
// starts the clock, which finds the caches warm; this does not, so that the caller decides what ran before.
#include <chrono>

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

namespace {

// Seconds that `repeats` calls of the function `name` of `module` take.
double Timed(tvm::ffi::Module module, tvm::ffi::String name, int64_t repeats) {
  tvm::ffi::Function run = module->GetFunction(name).value();
  auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < repeats; ++i) run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Version of the runtime that is loaded, as text.
tvm::ffi::String RuntimeVersion() {
  TVMFFIVersion found;
  TVMFFIGetVersion(&found);
  return std::to_string(found.major) + "." + std::to_string(found.minor) + "." + std::to_string(found.patch);
}

}  // namespace

TVM_FFI_DLL_EXPORT_TYPED_FUNC(timed, Timed);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(runtime_version, RuntimeVersion);
