//! A SQLite VFS that hands everything to the real one and notes what a disk would have been told.
#![allow(unsafe_code, reason = "SQLite's VFS is a C interface")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::disk::{Step, note};

/// Files below it are noted.
static WATCHED: OnceLock<PathBuf> = OnceLock::new();

/// What SQLite holds of an open file; the real one's follows in memory.
#[repr(C)]
struct File {
    methods: *const ffi::sqlite3_io_methods,
    /// Null for files that are not noted.
    path: *mut PathBuf,
}

/// Makes it the VFS of every connection from now on.
pub fn install(watched: &Path) {
    WATCHED.set(watched.to_owned()).expect("once");
    // SAFETY: the default VFS lives as long as the process, and so does the leaked copy of it.
    unsafe {
        let real = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut own = *real;
        own.szOsFile += size_of::<File>() as c_int;
        own.pNext = std::ptr::null_mut();
        own.zName = c"power".as_ptr();
        own.pAppData = real.cast::<c_void>();
        own.xOpen = Some(open);
        own.xDelete = Some(delete);
        let registered = ffi::sqlite3_vfs_register(Box::leak(Box::new(own)), 1);
        assert_eq!(registered, ffi::SQLITE_OK);
    }
}

unsafe fn real_vfs(vfs: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: `install` put it there.
    unsafe { (*vfs).pAppData.cast() }
}

unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: SQLite allocated `szOsFile` bytes: ours, then the real one's. Both begin at a multiple of a pointer's size.
    unsafe { file.cast::<u8>().add(size_of::<File>()).cast() }
}

unsafe fn methods(file: *mut ffi::sqlite3_file) -> &'static ffi::sqlite3_io_methods {
    // SAFETY: the real file was opened, so it has methods, which are static.
    unsafe { &*(*real(file)).pMethods }
}

/// The file's path, if it is noted.
unsafe fn path(file: *mut ffi::sqlite3_file) -> Option<PathBuf> {
    // SAFETY: `open` set it to null or to a leaked box that `close` frees.
    unsafe { (*file.cast::<File>()).path.as_ref().cloned() }
}

fn watched(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite passes a C string.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
    WATCHED.get().is_some_and(|dir| path.starts_with(dir)).then_some(path)
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the arguments are SQLite's own, meant for the real VFS.
    unsafe {
        let own = file.cast::<File>();
        (*own).methods = std::ptr::null();
        (*own).path = watched(name).map_or(std::ptr::null_mut(), |path| Box::into_raw(Box::new(path)));
        let vfs = real_vfs(vfs);
        let code = ((*vfs).xOpen.expect("has it"))(vfs, name, real(file), flags, out);
        if !(*real(file)).pMethods.is_null() {
            (*own).methods = &METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    if let Some(file) = watched(name) {
        note(Step::Delete { file, synced: sync != 0 });
    }
    // SAFETY: as in `open`.
    unsafe {
        let vfs = real_vfs(vfs);
        ((*vfs).xDelete.expect("has it"))(vfs, name, sync)
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: an open file of ours; its path is freed once.
    unsafe {
        let own = file.cast::<File>();
        if !(*own).path.is_null() {
            drop(Box::from_raw((*own).path));
            (*own).path = std::ptr::null_mut();
        }
        (methods(file).xClose.expect("has it"))(real(file))
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, count: c_int, at: i64) -> c_int {
    // SAFETY: SQLite passes `count` readable bytes.
    unsafe {
        let code = (methods(file).xWrite.expect("has it"))(real(file), data, count, at);
        if let Some(file) = path(file) {
            let bytes = std::slice::from_raw_parts(data.cast::<u8>(), count as usize).to_vec();
            note(Step::Write { file, at: at as usize, bytes });
        }
        code
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: an open file of ours.
    unsafe {
        if let Some(file) = path(file) {
            note(Step::Truncate { file, size: size as usize });
        }
        (methods(file).xTruncate.expect("has it"))(real(file), size)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: an open file of ours.
    unsafe {
        let code = (methods(file).xSync.expect("has it"))(real(file), flags);
        if let Some(file) = path(file) {
            note(Step::Sync { file });
        }
        code
    }
}

/// Calls that go through as they are.
macro_rules! through {
    ($($own:ident = $method:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(unsafe extern "C" fn $own(file: *mut ffi::sqlite3_file, $($arg: $type),*) -> $result {
            // SAFETY: an open file of ours, and arguments that SQLite means for the real one.
            unsafe { (methods(file).$method.expect("has it"))(real(file), $($arg),*) }
        })*
    };
}

through! {
    read = xRead(data: *mut c_void, count: c_int, at: i64) -> c_int;
    file_size = xFileSize(size: *mut i64) -> c_int;
    lock = xLock(level: c_int) -> c_int;
    unlock = xUnlock(level: c_int) -> c_int;
    check_reserved = xCheckReservedLock(out: *mut c_int) -> c_int;
    file_control = xFileControl(op: c_int, arg: *mut c_void) -> c_int;
    sector_size = xSectorSize() -> c_int;
    device = xDeviceCharacteristics() -> c_int;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int;
    shm_barrier = xShmBarrier() -> ();
    shm_unmap = xShmUnmap(delete: c_int) -> c_int;
}

/// Version 2: what a log needs, and no memory-mapped pages.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
