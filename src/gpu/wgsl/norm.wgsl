//! Layer normalization (Ba et al. 2016) and root-mean-square normalization (Zhang and Sennrich 2019) of rows, of sums of
//! two rows, or of parts of rows where they stand.
//!
//! ```text
//! mean = Σ x / width, or 0;  y = (x - mean) / sqrt(Σ (x - mean)² / width + eps) * weight + bias
//! ```
//!
//! A workgroup has a row, or a part of one. An invocation adds up every 64th number, and the 64 sums are added in a tree:
//! one order, whatever else is computed. All in float32; the variance is that of the centred row.

struct Constants {
    width: u32,
    stride: u32,
    // Of parts: numbers of a row before the first one.
    start: u32,
    eps: f32,
}
var<immediate> constants: Constants;

//#if IN_PLACE
@group(0) @binding(0) var<storage, read_write> out: array<Num>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
//#else
@group(0) @binding(0) var<storage, read_write> out: array<Num>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<Num>;
//#if RESIDUAL
@group(0) @binding(4) var<storage, read> residual: array<Num>;
//#end
//#end

var<workgroup> sums: array<f32, 64>;

fn number(place: u32) -> f32 {
//#if IN_PLACE
    return f32(out[place]);
//#else
//#if RESIDUAL
    return f32(x[place]) + f32(residual[place]);
//#else
    return f32(x[place]);
//#end
//#end
}

fn total(lane: u32, value: f32) -> f32 {
    sums[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (lane < half) {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    let result = sums[0];
    workgroupBarrier();
    return result;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = group.x * constants.stride + constants.start + group.y * constants.width;
    let count = f32(constants.width);
    var mean = 0.0;
//#if CENTRED
    var sum = 0.0;
    for (var column = lane; column < constants.width; column += 64u) {
        sum += number(start + column);
    }
    mean = total(lane, sum) / count;
//#end
    var squares = 0.0;
    for (var column = lane; column < constants.width; column += 64u) {
        let centred = number(start + column) - mean;
        squares = fma(centred, centred, squares);
    }
    let scale = 1.0 / sqrt(total(lane, squares) / count + constants.eps);
    for (var column = lane; column < constants.width; column += 64u) {
        let centred = number(start + column) - mean;
        out[start + column] = Num(fma(centred * scale, weight[column], bias[column]));
    }
//#if IN_PLACE
//#else
    for (var column = constants.width + lane; column < constants.stride; column += 64u) {
        out[start + column] = Num(0.0);
    }
//#end
}
