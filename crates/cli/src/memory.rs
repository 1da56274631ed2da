//! The allocator, and what it gives back.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives the system back what only the start needed: the catalogue and the prices are parsed from
/// JSON, and a gateway that idles would hold on to 4 MiB of what that took.
#[cfg(feature = "mimalloc")]
#[expect(
    unsafe_code,
    reason = "the allocator has no safe call for it; this one takes no pointer, frees nothing that \
              is in use, and may be made at any time from any thread"
)]
pub(crate) fn give_back() {
    // SAFETY: see above; the argument says only how thorough it is to be.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Another allocator has ways of its own.
#[cfg(not(feature = "mimalloc"))]
pub(crate) fn give_back() {}
