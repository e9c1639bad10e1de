//! Vectors of float64, each as many numbers as a vector of float32. Nothing is fused, so that sums have the same bits
//! on every set.

/// A set's arithmetic in float64.
pub(crate) trait Double: Copy {
    /// `LANES` numbers.
    type D: Copy;

    fn zeros(self) -> Self::D;

    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load_double(self, from: *const f64) -> Self::D;

    /// # Safety
    /// `to` is valid for writes of `LANES` numbers.
    unsafe fn store_double(self, to: *mut f64, x: Self::D);

    /// float32 numbers, widened.
    ///
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load_widened(self, from: *const f32) -> Self::D;

    fn splat_double(self, x: f64) -> Self::D;
    fn add_double(self, a: Self::D, b: Self::D) -> Self::D;
    fn sub_double(self, a: Self::D, b: Self::D) -> Self::D;
    fn mul_double(self, a: Self::D, b: Self::D) -> Self::D;
}

/// A set's arithmetic on two registers, by its intrinsics.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! two_registers {
    ($set:ty, $register:ty, $half:literal, $zero:expr, $load:expr, $store:expr, $splat:expr, $add:expr, $sub:expr, $mul:expr, $widen:expr) => {
        impl Double for $set {
            type D = [$register; 2];

            #[inline(always)]
            fn zeros(self) -> Self::D {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { [$zero(), $zero()] }
            }

            #[inline(always)]
            unsafe fn load_double(self, from: *const f64) -> Self::D {
                // SAFETY: `self` proves that the CPU has the instruction; the caller vouches for the numbers.
                unsafe { [$load(from), $load(from.add($half))] }
            }

            #[inline(always)]
            unsafe fn store_double(self, to: *mut f64, x: Self::D) {
                // SAFETY: `self` proves that the CPU has the instruction; the caller vouches for the numbers.
                unsafe {
                    $store(to, x[0]);
                    $store(to.add($half), x[1]);
                }
            }

            #[inline(always)]
            unsafe fn load_widened(self, from: *const f32) -> Self::D {
                // SAFETY: `self` proves that the CPU has the instruction; the caller vouches for the numbers.
                unsafe { [$widen(from), $widen(from.add($half))] }
            }

            #[inline(always)]
            fn splat_double(self, x: f64) -> Self::D {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { [$splat(x), $splat(x)] }
            }

            #[inline(always)]
            fn add_double(self, a: Self::D, b: Self::D) -> Self::D {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { [$add(a[0], b[0]), $add(a[1], b[1])] }
            }

            #[inline(always)]
            fn sub_double(self, a: Self::D, b: Self::D) -> Self::D {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { [$sub(a[0], b[0]), $sub(a[1], b[1])] }
            }

            #[inline(always)]
            fn mul_double(self, a: Self::D, b: Self::D) -> Self::D {
                // SAFETY: `self` proves that the CPU has the instruction.
                unsafe { [$mul(a[0], b[0]), $mul(a[1], b[1])] }
            }
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use two_registers;
