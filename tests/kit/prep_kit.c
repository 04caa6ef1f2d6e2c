// SPDX-License-Identifier: MIT
#include "kit/prep_kit.h"

#include <ringstep/prep.bpf.h>

// clang-format off: a line for each function
int prep_by_kit(int which, struct io_uring_sqe *sqe, const struct prep_arguments *a)
{
	switch (which) {
	case 0: ringstep_prep_nop(sqe); return 1;
	case 1: ringstep_prep_read(sqe, a->fd, a->address, a->length, a->offset); return 1;
	case 2: ringstep_prep_write(sqe, a->fd, a->address, a->length, a->offset); return 1;
	case 3: ringstep_prep_read_fixed(sqe, a->fd, a->address, a->length, a->offset, a->small); return 1;
	case 4: ringstep_prep_write_fixed(sqe, a->fd, a->address, a->length, a->offset, a->small); return 1;
	case 5: ringstep_prep_readv(sqe, a->fd, a->address, a->length, a->offset); return 1;
	case 6: ringstep_prep_writev(sqe, a->fd, a->address, a->length, a->offset); return 1;
	case 7: ringstep_prep_read_multishot(sqe, a->fd, a->length, a->offset, a->small); return 1;
	case 8: ringstep_prep_fsync(sqe, a->fd, a->flags); return 1;
	case 9: ringstep_prep_sync_file_range(sqe, a->fd, a->length, a->offset, a->flags); return 1;
	case 10: ringstep_prep_fallocate(sqe, a->fd, a->flags, a->offset, a->length); return 1;
	case 11: ringstep_prep_fadvise(sqe, a->fd, a->offset, a->length, a->flags); return 1;
	case 12: ringstep_prep_openat(sqe, a->fd, a->address, a->flags, a->more); return 1;
	case 13: ringstep_prep_openat_direct(sqe, a->fd, a->address, a->flags, a->more, a->small); return 1;
	case 14: ringstep_prep_close(sqe, a->fd); return 1;
	case 15: ringstep_prep_close_direct(sqe, a->small); return 1;
	case 16: ringstep_prep_statx(sqe, a->fd, a->address, a->flags, a->more, a->address2); return 1;
	case 17: ringstep_prep_recv(sqe, a->fd, a->address, a->length, a->flags); return 1;
	case 18: ringstep_prep_recv_multishot(sqe, a->fd, a->address, a->length, a->flags); return 1;
	case 19: ringstep_prep_send(sqe, a->fd, a->address, a->length, a->flags); return 1;
	case 20: ringstep_prep_send_zc(sqe, a->fd, a->address, a->length, a->flags, a->small); return 1;
	case 21: ringstep_prep_recvmsg(sqe, a->fd, a->address, a->flags); return 1;
	case 22: ringstep_prep_sendmsg(sqe, a->fd, a->address, a->flags); return 1;
	case 23: ringstep_prep_accept(sqe, a->fd, a->address, a->address2, a->flags); return 1;
	case 24: ringstep_prep_multishot_accept(sqe, a->fd, a->address, a->address2, a->flags); return 1;
	case 25: ringstep_prep_connect(sqe, a->fd, a->address, a->length); return 1;
	case 26: ringstep_prep_shutdown(sqe, a->fd, a->length); return 1;
	case 27: ringstep_prep_poll_add(sqe, a->fd, a->flags); return 1;
	case 28: ringstep_prep_poll_multishot(sqe, a->fd, a->flags); return 1;
	case 29: ringstep_prep_timeout(sqe, a->address, a->length, a->flags); return 1;
	case 30: ringstep_prep_timeout_remove(sqe, a->offset, a->flags); return 1;
	case 31: ringstep_prep_link_timeout(sqe, a->address, a->flags); return 1;
	case 32: ringstep_prep_cancel64(sqe, a->offset, a->flags); return 1;
	case 33: ringstep_prep_cancel_fd(sqe, a->fd, a->flags); return 1;
	case 34: ringstep_prep_splice(sqe, a->fd, (__s64)a->offset, a->fd2, (__s64)a->address, a->length, a->flags); return 1;
	case 35: ringstep_prep_msg_ring(sqe, a->fd, a->length, a->address, a->flags); return 1;
	case 36: ringstep_prep_unlinkat(sqe, a->fd, a->address, a->flags); return 1;
	case 37: ringstep_prep_openat_direct(sqe, a->fd, a->address, a->flags, a->more, IORING_FILE_INDEX_ALLOC); return 1;
	case 38: ringstep_prep_rw((__u8)a->small, sqe, a->fd, a->address, a->length, a->offset); return 1;
	case 39: ringstep_prep_accept_direct(sqe, a->fd, a->address, a->address2, a->flags, a->small); return 1;
	case 40: ringstep_prep_accept_direct(sqe, a->fd, a->address, a->address2, a->flags, IORING_FILE_INDEX_ALLOC); return 1;
	case 41: ringstep_prep_multishot_accept_direct(sqe, a->fd, a->address, a->address2, a->flags); return 1;
	case 42: ringstep_prep_socket(sqe, a->fd, (__s32)a->length, a->more, a->flags); return 1;
	case 43: ringstep_prep_socket_direct(sqe, a->fd, (__s32)a->length, a->more, a->small, a->flags); return 1;
	case 44: ringstep_prep_socket_direct(sqe, a->fd, (__s32)a->length, a->more, IORING_FILE_INDEX_ALLOC, a->flags); return 1;
	case 45: ringstep_prep_socket_direct_alloc(sqe, a->fd, (__s32)a->length, a->more, a->flags); return 1;
	case 46: ringstep_prep_bind(sqe, a->fd, a->address, a->length); return 1;
	case 47: ringstep_prep_listen(sqe, a->fd, a->length); return 1;
	case 48: ringstep_prep_cmd_sock(sqe, a->flags, a->fd, a->more, a->length, a->address, a->small); return 1;
	case 49: ringstep_prep_recvmsg_multishot(sqe, a->fd, a->address, a->flags); return 1;
	case 50: ringstep_prep_send_bundle(sqe, a->fd, a->length, a->flags); return 1;
	case 51: ringstep_prep_sendmsg_zc(sqe, a->fd, a->address, a->flags); return 1;
	case 52: ringstep_prep_send_zc_fixed(sqe, a->fd, a->address, a->length, a->flags, a->more & 0xffff, a->small); return 1;
	case 53:
		ringstep_prep_send(sqe, a->fd, a->address, a->length, a->flags);
		ringstep_prep_send_set_addr(sqe, a->address2, a->small);
		return 1;
	case 54: ringstep_prep_msg_ring_fd(sqe, a->fd, a->fd2, a->small, a->offset, a->flags); return 1;
	case 55: ringstep_prep_msg_ring_fd(sqe, a->fd, a->fd2, IORING_FILE_INDEX_ALLOC, a->offset, a->flags); return 1;
	case 56: ringstep_prep_msg_ring_fd_alloc(sqe, a->fd, a->fd2, a->offset, a->flags); return 1;
	case 57: ringstep_prep_fixed_fd_install(sqe, a->fd, a->flags); return 1;
	case 58: ringstep_prep_files_update(sqe, a->address, a->length, a->fd2); return 1;
	case 59: ringstep_prep_poll_remove(sqe, a->offset); return 1;
	case 60: ringstep_prep_poll_update(sqe, a->offset, a->address, a->more, a->flags); return 1;
	case 61: ringstep_prep_timeout_update(sqe, a->address, a->offset, a->flags); return 1;
	case 62: ringstep_prep_provide_buffers(sqe, a->address, a->length, a->fd, a->small, (__u16)a->more); return 1;
	case 63: ringstep_prep_remove_buffers(sqe, a->fd, a->small); return 1;
	case 64: ringstep_prep_epoll_wait(sqe, a->fd, a->address, a->length, a->flags); return 1;
	case 65: ringstep_prep_futex_wait(sqe, a->address, a->offset, a->address2, a->more, a->flags); return 1;
	case 66: ringstep_prep_futex_wake(sqe, a->address, a->offset, a->address2, a->more, a->flags); return 1;
	case 67: ringstep_prep_futex_waitv(sqe, a->address, a->length, a->flags); return 1;
	case 68: ringstep_prep_waitid(sqe, a->length, a->fd, a->address, a->more, a->flags); return 1;
	default: return 0;
	}
}
