"""The arguments of the picture kernels: image.cuh, image_direct.cu and image_tiled.cu."""

from __future__ import annotations

import ctypes

__all__ = [
    "DeviceFrames",
    "DevicePlane",
    "DeviceTarget",
    "DirectArguments",
    "MarginArguments",
    "Matrix",
    "TiledArguments",
]

_u64, _u32, _i64, _i32, _ptr = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p


class DevicePlane(ctypes.Structure):
    _fields_ = [("data", _ptr), ("next", _i64), ("row_stride", _i64), ("column_stride", _i64)]


class Matrix(ctypes.Structure):
    """YuvMatrix of pixel.hpp."""

    _fields_ = [(name, _i32) for name in ("black", "luma", "red_v", "green_u", "green_v", "blue_u")]


class DeviceFrames(ctypes.Structure):
    _fields_ = [
        ("planes", DevicePlane * 3),
        *((name, _u32) for name in ("count", "height", "width", "colours", "tall")),
        ("matrix", Matrix),
    ]


class DeviceTarget(ctypes.Structure):
    _fields_ = [
        *((name, _ptr) for name in ("data", "table", "margin")),
        *((name, _u64) for name in ("next", "channel_stride")),
        *((name, _u32) for name in ("row_stride", "column_stride")),
        *((name, _u32) for name in ("height", "width", "top", "left", "rows", "columns", "item", "bgr")),
    ]


class DirectArguments(ctypes.Structure):
    _fields_ = [
        ("frames", DeviceFrames),
        ("target", DeviceTarget),
        *((name, _ptr) for name in ("row_start", "row_count", "row_weight")),
        *((name, _ptr) for name in ("column_start", "column_count", "column_weight")),
        *((name, _u32) for name in ("row_taps", "column_taps", "across")),
    ]


class MarginArguments(ctypes.Structure):
    _fields_ = [("target", DeviceTarget), ("frames", _u32)]


class TiledArguments(ctypes.Structure):
    _fields_ = [
        ("frames", DeviceFrames),
        ("target", DeviceTarget),
        *((name, _ptr) for name in ("row_first", "row_quads", "column_first", "column_quads")),
        *((name, _u32) for name in ("row_groups", "column_groups", "tile_rows", "tile_columns")),
        *((name, _u32) for name in ("staged_width", "narrow_groups", "packed")),
    ]
