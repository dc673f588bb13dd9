// TVM's RPC server without Python, on a connection that is open already: lets an emulated processor stand for a
// board in tests. Arguments: the socket's number, a folder for what is uploaded.
#include <cstdlib>
#include <iostream>
#include <string>

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

namespace ffi = tvm::ffi;

int main(int argc, char** argv) {
  try {
    std::string folder = std::string(argv[2]) + "/";
    auto path = [folder](ffi::String name) { return ffi::String(folder + std::string(name)); };
    ffi::Function::SetGlobal("tvm.rpc.server.workpath", ffi::Function::FromTyped(path), true);
    ffi::Function::SetGlobal(
        "tvm.rpc.server.load_module",
        ffi::Function::FromTyped([path](ffi::String name) { return ffi::Module::LoadFromFile(path(name)); }), true);
    ffi::Function::GetGlobalRequired("rpc.ServerLoop")(std::atoi(argv[1]));
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
