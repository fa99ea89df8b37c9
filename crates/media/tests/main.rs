//! What a router does for whole calls, seen from outside: a file for each kind of it. They are one program, since what
//! each would compile and link for itself takes longer than all of them run; `allocations.rs` has an allocator of its own.

mod attacks;
mod bandwidth;
mod calls;
mod connections;
mod descriptors;
mod downlink_feedback;
mod dtls_client;
mod dtls_forgery;
mod estimates;
mod first_picture;
mod forged_hellos;
mod hostile_peers;
mod isolation;
mod levels;
mod malformed_certificates;
mod narrow_paths;
mod numbers;
mod padding;
mod paths;
mod policing;
mod proven_paths;
mod reports;
mod restarts;
mod rtcp_storms;
mod sources;
mod srtp_indices;
mod streams;
mod turns;
mod weak_hellos;
