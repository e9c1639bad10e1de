//! The end of a submission: the canary sings its next song, if it has sung the one before it. What the processor reads
//! is the last song of all, where every submission was computed, in its order.

struct Constants { last: u32, next: u32 }
var<immediate> constants: Constants;

@group(0) @binding(0) var<storage, read_write> song: array<u32>;

@compute @workgroup_size(1)
fn main() {
    if (song[0] == constants.last) {
        song[0] = constants.next;
    }
}
