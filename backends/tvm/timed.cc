// Times a network on the device that runs it. TVM's own time_evaluator runs the network once before it
// starts the clock, which finds the caches warm; this does not, so that the caller decides what ran before.
#include <sys/resource.h>

#include <cstdio>
#include <ctime>
#include <string>

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

namespace {

double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

// Involuntary context switches so far.
int64_t Switches(int whose) {
  rusage used;
  return getrusage(whose, &used) == 0 ? used.ru_nivcsw : 0;
}

// What `repeats` calls of the function `name` of `module` take, as text: seconds of wall time, seconds of processor
// time, and how often the kernel took a core away meanwhile. `own` counts this thread only, else the whole process.
tvm::ffi::String Timed(tvm::ffi::Module module, tvm::ffi::String name, int64_t repeats, int64_t own) {
  tvm::ffi::Function run = module->GetFunction(name).value();
  clockid_t clock = own ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID;
  int whose = RUSAGE_SELF;
#ifdef RUSAGE_THREAD
  if (own) whose = RUSAGE_THREAD;
#endif
  int64_t switched = Switches(whose);
  double wall = Seconds(CLOCK_MONOTONIC);
  double cpu = Seconds(clock);
  for (int64_t i = 0; i < repeats; ++i) run();
  cpu = Seconds(clock) - cpu;
  wall = Seconds(CLOCK_MONOTONIC) - wall;
  char text[96];
  std::snprintf(text, sizeof text, "%.9f %.9f %lld", wall, cpu,
                static_cast<long long>(Switches(whose) - switched));
  return text;
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
