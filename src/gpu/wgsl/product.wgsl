//! `out = activation(x · weightᵀ + bias) + residual`, or `activation(x · gateᵀ + ..) * (x · upᵀ + ..)`.
//!
//! A workgroup computes 64 rows by 64 columns, in steps of 16 along the sum: 64 rows of `x` and of `weight` are copied to
//! the workgroup's memory while those of the step before are multiplied, and each of 16 x 16 invocations multiplies 4 rows
//! by 4 columns of it.
//!
//! ```text
//! tile[part][row]: numbers 4 part .. 4 part + 4 of the row         neighbours in a subgroup read what lies side by side
//! invocation (i, j): rows j, j + 16, ...; columns i, i + 16, ...
//! ```
//!
//! Where there is a gate, its rows and those of `up` take turns in the weight, 16 by 16: an invocation has both numbers.
//!
//! Each sum runs from the first number to the last, in one accumulator, by `fma`: a row's bits depend on nothing but the row.
//! Rows and columns beyond the last are computed from copies of it, and not written. The sum's length is a multiple of
//! 16: rows are padded with zeros.

struct Constants {
    rows: u32,
    // Rows of the weight.
    columns: u32,
    // Numbers that are written of a row, zeros after `width`.
    stride: u32,
    width: u32,
    // A quarter of the sum's length.
    depth: u32,
}
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> x: array<Num4>;
@group(0) @binding(1) var<storage, read> weight: array<Weight4>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<Num>;

var<workgroup> x_tile: array<vec4<f32>, 256>;
var<workgroup> weight_tile: array<vec4<f32>, 256>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) at: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = lane % 4u;
    let copied = lane / 4u;
    let x_start = min(group.y * 64u + copied, constants.rows - 1u) * constants.depth + part;
    let weight_row = min(group.x * 64u + copied, constants.columns - 1u);
    let weight_start = weight_row * constants.depth + part;
    let tile_at = part * 64u + copied;

//#for r 4
    var sum$r = vec4<f32>(0.0);
//#end
    var x_next = vec4<f32>(x[x_start]);
    var weight_next = widen(weight[weight_start]);
    for (var k = 0u; k < constants.depth; k += 4u) {
        x_tile[tile_at] = x_next;
        weight_tile[tile_at] = weight_next;
        workgroupBarrier();
        // The last step reads its own numbers again.
        let next = min(k + 4u, constants.depth - 4u);
        x_next = vec4<f32>(x[x_start + next]);
        weight_next = widen(weight[weight_start + next]);
//#for p 4
        {
//#for c 4
            let w$c = weight_tile[$p * 64 + $c * 16 + at.x];
//#end
//#for r 4
            let x$r = x_tile[$p * 64 + $r * 16 + at.y];
//#end
            let first = vec4<f32>(w0.x, w1.x, w2.x, w3.x);
            let second = vec4<f32>(w0.y, w1.y, w2.y, w3.y);
            let third = vec4<f32>(w0.z, w1.z, w2.z, w3.z);
            let fourth = vec4<f32>(w0.w, w1.w, w2.w, w3.w);
//#for r 4
            sum$r = fma(vec4<f32>(x$r.x), first, sum$r);
            sum$r = fma(vec4<f32>(x$r.y), second, sum$r);
            sum$r = fma(vec4<f32>(x$r.z), third, sum$r);
            sum$r = fma(vec4<f32>(x$r.w), fourth, sum$r);
//#end
        }
//#end
        workgroupBarrier();
    }

    let column = group.x * 64u + at.x;
    let last = constants.columns - 1u;
    let added = vec4<f32>(
        bias[min(column, last)],
        bias[min(column + 16u, last)],
        bias[min(column + 32u, last)],
        bias[min(column + 48u, last)],
    );
//#if SCALED
    // Behind the numbers of the bias.
    let scale_at = constants.columns + min(vec4<u32>(column) + vec4<u32>(0u, 16u, 32u, 48u), vec4<u32>(last));
    let scales = vec4<f32>(bias[scale_at.x], bias[scale_at.y], bias[scale_at.z], bias[scale_at.w]);
//#end
//#for r 4
    {
        let row = group.y * 64u + $r * 16 + at.y;
//#if SCALED
        let y = fma(sum$r, scales, added);
//#else
        let y = sum$r + added;
//#end
//#if GATED
        put(row, group.x * 32u + at.x, activate(y.x) * y.y);
        put(row, group.x * 32u + 16u + at.x, activate(y.z) * y.w);
//#else
        put(row, column, activate(y.x));
        put(row, column + 16u, activate(y.y));
        put(row, column + 32u, activate(y.z));
        put(row, column + 48u, activate(y.w));
//#end
    }
//#end
}

fn put(row: u32, column: u32, value: f32) {
    if (row < constants.rows && column < constants.stride) {
        let place = row * constants.stride + column;
        out[place] = Num(select(0.0, value, column < constants.width));
    }
}
