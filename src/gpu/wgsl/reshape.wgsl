//! The same numbers, row by row, in rows of another width, in a type of their own.

struct Constants { width: u32, stride: u32, out_width: u32, out_stride: u32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> x: array<Num>;
@group(0) @binding(1) var<storage, read_write> out: array<$OUT>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var column = lane; column < constants.out_stride; column += 64u) {
        var value = $OUT(0.0);
        if (column < constants.out_width) {
            let number = group.x * constants.out_width + column;
            let row = number / constants.width;
            value = $OUT(x[row * constants.stride + number - row * constants.width]);
        }
        out[group.x * constants.out_stride + column] = value;
    }
}
