// Runs compiled networks once each and writes what they compute: for an emulated processor, where Python would
// take most of a minute to start.
//
// Each line of the file named by the first argument is one network:
//   library input output n d1 ... dn
// with the files' names and the input's shape; tensors are fp32, little-endian, without a header.
//
// Around the run that counts (the second: the first allocates) it makes a system call that does nothing, by which
// the plug-in in count.c knows it.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

namespace ffi = tvm::ffi;

namespace {

constexpr long kMark = 0x48574245;
constexpr int kPooledAllocator = 2;

struct HostMemory {
  void AllocData(DLTensor* tensor) { tensor->data = std::aligned_alloc(64, (ffi::GetDataSize(*tensor) + 63) / 64 * 64); }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

void Mark() { syscall(SYS_getpriority, kMark, 0); }

void RunOne(std::istringstream line) {
  std::string library, input, output;
  size_t dimensions;
  line >> library >> input >> output >> dimensions;
  std::vector<int64_t> shape(dimensions);
  for (int64_t& size : shape) line >> size;
  if (!line) throw std::runtime_error("the list of networks is broken");

  ffi::Tensor x = ffi::Tensor::FromNDAlloc(HostMemory(), ffi::Shape(shape), DLDataType{kDLFloat, 32, 1}, DLDevice{kDLCPU, 0});
  std::ifstream(input, std::ios::binary).read(static_cast<char*>(x.data_ptr()), ffi::GetDataSize(x));

  ffi::Module vm = ffi::Module::LoadFromFile(library)->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
  vm->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, kPooledAllocator);
  ffi::Function run = vm->GetFunction("main").value();
  run(x);
  Mark();
  ffi::Tensor y = run(x).cast<ffi::Tensor>();
  Mark();
  std::ofstream(output, std::ios::binary).write(static_cast<char*>(y.data_ptr()), ffi::GetDataSize(y));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::ifstream list(argc > 1 ? argv[1] : "");
    for (std::string line; std::getline(list, line);) RunOne(std::istringstream(line));
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
