//! Owned buffers that cross the C ABI: a boxed slice taken apart, put together again to be freed.

use std::ptr;

/// `pagoda_text_bytes` and `pagoda_text_ids`.
#[repr(C)]
pub struct Buffer<T> {
    data: *mut T,
    size: usize,
}

pub type Bytes = Buffer<u8>;
pub type Ids = Buffer<i32>;

impl<T> Buffer<T> {
    pub fn new(values: Vec<T>) -> Self {
        let size = values.len();
        let data = Box::into_raw(values.into_boxed_slice()).cast::<T>();
        Buffer { data, size }
    }

    /// # Safety
    /// Made by `new` (or all zero) and not used again.
    pub unsafe fn free(self) {
        if !self.data.is_null() {
            let slice = ptr::slice_from_raw_parts_mut(self.data, self.size);
            // SAFETY: `new` made exactly this boxed slice.
            drop(unsafe { Box::from_raw(slice) });
        }
    }
}

#[cfg(test)]
impl Bytes {
    /// Takes the text out, freeing the buffer.
    pub fn into_text(self) -> String {
        // SAFETY: made by `new`, freed once.
        let bytes = unsafe { std::slice::from_raw_parts(self.data, self.size) }.to_vec();
        unsafe { self.free() };
        String::from_utf8(bytes).expect("UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_holds_its_values_until_freed() {
        let mut spare = Vec::with_capacity(100);
        spare.extend([3, -1, 7]);
        let buffer = Ids::new(spare);
        // SAFETY: made just above.
        assert_eq!(
            unsafe { std::slice::from_raw_parts(buffer.data, buffer.size) },
            [3, -1, 7]
        );
        unsafe { buffer.free() };
    }

    #[test]
    fn empty_and_zeroed_buffers_can_be_freed() {
        let empty = Bytes::new(Vec::new());
        assert_eq!(empty.size, 0);
        // SAFETY: made by `new`, and all zero.
        unsafe { empty.free() };
        let zeroed = Bytes {
            data: ptr::null_mut(),
            size: 0,
        };
        unsafe { zeroed.free() };
    }
}
