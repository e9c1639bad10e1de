//! Attention over packed texts with the online softmax (Milakov and Gimelshein 2018; FlashAttention: Dao et al. 2022).
//!
//! ```text
//! a workgroup: up to 16 queries of one text, one head
//!     best = least; sum = 0; out = 0
//!     for 16 keys at a time:
//!         scores = q · k scale + bias            16 x 16, `least` where the mask hides the key
//!         new = max(best, scores);  shrunk = exp(best - new);  best = new
//!         sum = sum shrunk + Σ exp(scores - best);  out = out shrunk + Σ exp(scores - best) v
//!     out / sum
//! ```
//!
//! Four invocations share a query: each has a quarter of its numbers, by fours in turn, and of `out`. A product of a
//! query and a key is four sums, one of each, that are added in one order.
//!
//! Blocks of keys are counted from the text's first. A block that a query sees nothing of changes nothing: `best` stays,
//! and what is added is zero. So a query's bits depend neither on the other queries of its workgroup, nor on other texts.
//!
//! With disentangled positions (DeBERTa: He et al. 2021) the product of a query and a key is `q · (k + r_k) + k · r_q`, where
//! `r_k` and `r_q` are rows of tables for their distance: as much arithmetic again, and no matrix of biases.
//!
//! `least` is a number and no infinity, which drivers that compile for speed do not know.

struct Constants {
    // Of the tasks: five numbers each.
    at: u32,
    stride: u32,
    out_stride: u32,
    scale: f32,
    // How far before and behind itself a query sees.
    before: u32,
    behind: u32,
    past: u32,
    past_stride: u32,
    // The farthest distance that has a bias of its own.
    far: u32,
}
var<immediate> constants: Constants;

//#if ALIGNED
alias Part = Num4;
//#else
alias Part = Num;
//#end

@group(0) @binding(0) var<storage, read> uploads: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<Part>;
@group(0) @binding(2) var<storage, read_write> out: array<Num>;
//#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
//#end
//#if DISENTANGLED
@group(0) @binding(3) var<storage, read> tables: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> buckets: array<u32>;
//#end
//#if PAST
@group(0) @binding(3) var<storage, read> past: array<Part>;
//#end

const LEAST: f32 = -1e30;
const FOURS: u32 = $FOURSu;

var<workgroup> tile: array<vec4<f32>, $TILE>;
var<workgroup> partial: array<f32, 1024>;
var<workgroup> scores: array<f32, 256>;

// Four numbers of a head from number `column` on; zeros behind its end.
fn part_of(row: u32, column: u32) -> vec4<f32> {
//#if ALIGNED
    if (column >= $HEADu) {
        return vec4<f32>(0.0);
    }
    return vec4<f32>(qkv[(row + column) / 4u]);
//#else
    var value = vec4<f32>(0.0);
    if (column < $HEADu) { value.x = f32(qkv[row + column]); }
    if (column + 1u < $HEADu) { value.y = f32(qkv[row + column + 1u]); }
    if (column + 2u < $HEADu) { value.z = f32(qkv[row + column + 2u]); }
    if (column + 3u < $HEADu) { value.w = f32(qkv[row + column + 3u]); }
    return value;
//#end
}

//#if PAST
fn past_part(row: u32, column: u32) -> vec4<f32> {
//#if ALIGNED
    if (column >= $HEADu) {
        return vec4<f32>(0.0);
    }
    return vec4<f32>(past[(row + column) / 4u]);
//#else
    var value = vec4<f32>(0.0);
    if (column < $HEADu) { value.x = f32(past[row + column]); }
    if (column + 1u < $HEADu) { value.y = f32(past[row + column + 1u]); }
    if (column + 2u < $HEADu) { value.z = f32(past[row + column + 2u]); }
    if (column + 3u < $HEADu) { value.w = f32(past[row + column + 3u]); }
    return value;
//#end
}
//#end

// Copies 16 keys' or values' numbers to the tile: of head `head` of those of queries, keys and values. Zeros behind the
// last one.
fn copy(lane: u32, text: u32, first_key: u32, keys: u32, head: u32) {
    for (var i = lane; i < 16u * FOURS; i += 64u) {
        let key = first_key + i / FOURS;
        let column = 4u * (i % FOURS);
        var value = vec4<f32>(0.0);
        if (key < keys) {
//#if PAST
            if (key < constants.past) {
                value = past_part(key * constants.past_stride + (head - $HEADSu) * $HEADu, column);
            } else {
                value = part_of((text + key - constants.past) * constants.stride + head * $HEADu, column);
            }
//#else
            value = part_of((text + key) * constants.stride + head * $HEADu, column);
//#end
        }
        tile[i] = value;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let task = constants.at + 5u * group.x;
    let text = uploads[task];
    let first_query = uploads[task + 2u];
    let count = uploads[task + 3u];
    let out_row = uploads[task + 4u];
    let keys = constants.past + uploads[task + 1u];
    let head = group.y;
    let key_head = $HEADSu + head / $GROUPu;
    let value_head = key_head + $KV_HEADSu;

    let row = lane / 4u;
    let part = lane % 4u;
    // Counted as keys are. Queries beyond the last are copies of it.
    let query = constants.past + first_query + min(row, count - 1u);
    let query_at = (text + query - constants.past) * constants.stride + head * $HEADu;
    let begin = query - min(query, constants.before);
    let end = min(keys, query + min(constants.behind, keys) + 1u);
    let first = constants.past + first_query;
    let last = first + count - 1u;
    let first_block = (first - min(first, constants.before)) / 16u;
    let last_key = min(keys, last + min(constants.behind, keys) + 1u);

//#for i SHARE
    let q$i = part_of(query_at, 4u * (part + 4u * $iu));
    var o$i = vec4<f32>(0.0);
//#end
    var best = LEAST;
    var sum = 0.0;
    for (var block = first_block; block * 16u < last_key; block += 1u) {
        let key = block * 16u;
        copy(lane, text, key, keys, key_head);
        workgroupBarrier();
        for (var i = 0u; i < 16u; i += 1u) {
            let at = i * FOURS + part;
            var product = vec4<f32>(0.0);
//#if DISENTANGLED
            let far = i32(constants.far);
            let distance = clamp(i32(key + i) - i32(query), -far, far);
            let table_at = (buckets[far + distance] * $HEADSu + head) * FOURS + part;
//#for i SHARE
            {
                let k = tile[at + 4u * $iu];
//#if OF_QUERIES
                product = fma(q$i, k + tables[table_at + 4u * $iu], product);
//#else
                product = fma(q$i, k, product);
//#end
//#if OF_KEYS
                product = fma(k, tables[$SECONDu + table_at + 4u * $iu], product);
//#end
            }
//#end
//#else
//#for i SHARE
            product = fma(q$i, tile[at + 4u * $iu], product);
//#end
//#end
            partial[i * 64u + lane] = (product.x + product.y) + (product.z + product.w);
        }
        workgroupBarrier();
        copy(lane, text, key, keys, value_head);
        for (var i = 4u * part; i < 4u * part + 4u; i += 1u) {
            let at = i * 64u + 4u * row;
            var score = ((partial[at] + partial[at + 1u]) + (partial[at + 2u] + partial[at + 3u])) * constants.scale;
//#if BIAS
            let far = i32(constants.far);
            let distance = clamp(i32(key + i) - i32(query), -far, far);
            score += bias[i32(head * (2u * constants.far + 1u)) + far + distance];
//#end
            let seen = key + i >= begin && key + i < end;
            scores[i * 16u + row] = select(LEAST, score, seen);
        }
        workgroupBarrier();
        var next = best;
        for (var i = 0u; i < 16u; i += 1u) {
            next = max(next, scores[i * 16u + row]);
        }
        let shrunk = select(exp(best - next), 1.0, best == next);
        best = next;
        sum *= shrunk;
//#for i SHARE
        o$i *= shrunk;
//#end
        for (var i = 0u; i < 16u; i += 1u) {
            let score = scores[i * 16u + row];
            // Not `score > LEAST`: what is no number must not be left out.
            let weight = select(exp(score - best), 0.0, score <= LEAST);
            let at = i * FOURS + part;
            sum += weight;
//#for i SHARE
            o$i = fma(vec4<f32>(weight), tile[at + 4u * $iu], o$i);
//#end
        }
        workgroupBarrier();
    }

    if (row < count) {
        let start = (out_row + row) * constants.out_stride;
//#for i SHARE
        {
            let column = 4u * (part + 4u * $iu);
            let value = o$i / sum;
            let at = start + head * $HEADu + column;
            if (column < $HEADu) { out[at] = Num(value.x); }
            if (column + 1u < $HEADu) { out[at + 1u] = Num(value.y); }
            if (column + 2u < $HEADu) { out[at + 2u] = Num(value.z); }
            if (column + 3u < $HEADu) { out[at + 3u] = Num(value.w); }
        }
//#end
        if (head == $HEADSu - 1u) {
            for (var column = $HEADSu * $HEADu + part; column < constants.out_stride; column += 4u) {
                out[start + column] = Num(0.0);
            }
        }
    }
}
