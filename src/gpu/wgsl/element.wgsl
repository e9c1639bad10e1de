//! An operation on each number of states, and of others of the same shape.

struct Constants { stride: u32, factor: f32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read> x: array<Num>;
@group(0) @binding(1) var<storage, read_write> out: array<Num>;
//#if SCALE
//#else
@group(0) @binding(2) var<storage, read> y: array<Num>;
//#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var column = lane; column < constants.stride; column += 64u) {
        let at = group.x * constants.stride + column;
//#if SCALE
        out[at] = Num(f32(x[at]) * constants.factor);
//#end
//#if ADD
        out[at] = Num(f32(x[at]) + f32(y[at]));
//#end
//#if SUBTRACT
        out[at] = Num(f32(x[at]) - f32(y[at]));
//#end
//#if MULTIPLY
        out[at] = Num(f32(x[at]) * f32(y[at]));
//#end
    }
}
