"""Whether there is an NVIDIA GPU to be used, asked of the driver itself before anything of CUDA is loaded."""

from __future__ import annotations

import ctypes
import os

DRIVER = "libcuda.so.1"
NO_DEVICE = 100


def cuda_reason(driver: str = DRIVER) -> str | None:
    """Why CUDA cannot be used here, with the remedy; None if it can. Loads the driver, nothing else."""
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return (
            f"there is no NVIDIA driver ({driver} cannot be loaded); "
            "install the driver, on Debian and Ubuntu: apt install nvidia-driver"
        )
    count = ctypes.c_int(0)
    error = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if error == NO_DEVICE or (not error and count.value == 0):
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        remedy = (
            f"; CUDA_VISIBLE_DEVICES is {hidden!r}"
            if hidden is not None
            else "; nvidia-smi lists those there are"
        )
        return f"there is an NVIDIA driver, but no GPU{remedy}"
    if error:
        return (
            f"the NVIDIA driver does not start: {_error_text(cuda, error)}; reboot, or reinstall the driver"
        )
    return None


def _error_text(cuda: ctypes.CDLL, error: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(error, ctypes.byref(text))
    return f"{text.value.decode(errors='replace')} (error {error})" if text.value else f"error {error}"


def cuda_device_name(driver: str = DRIVER) -> str:
    """The name of the first GPU that CUDA shows; call this where :func:`cuda_reason` gave none.

    Raises:
        OSError: there is no driver.
    """
    cuda = ctypes.CDLL(driver)
    device, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    cuda.cuInit(0)
    cuda.cuDeviceGet(ctypes.byref(device), 0)
    cuda.cuDeviceGetName(name, len(name), device)
    return name.value.decode(errors="replace") or "NVIDIA GPU"
