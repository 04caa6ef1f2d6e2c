/* SPDX-License-Identifier: MIT */
/*
 * Addresses, messages and vectors of sockets in a state, in C that loops and applications compile. The application cannot put a struct sockaddr,
 * msghdr or iovec of its C library there: a BPF program has none of them, or other ones with pointers of the kernel. These structs have the
 * layout of those of a process of 64 bits, with addresses as numbers.
 *
 *	struct my_state {
 *		union ringstep_socket_address peer;
 *		struct ringstep_iovec parts[2];
 *		struct ringstep_message message;
 *	};
 *
 *	// in C++: an address of any family fits
 *	std::memcpy(&state->peer, &address, sizeof address);
 *
 *	// in the step
 *	state->message.name = ringstep_address(turn, &state->peer);
 *	state->message.name_length = sizeof(state->peer);
 *	state->message.vectors = ringstep_address(turn, state->parts);
 *	state->message.vector_count = 2;
 *	ringstep_prep_sendmsg(sqe, fd, ringstep_address(turn, &state->message), 0);
 */
#ifndef RINGSTEP_SOCKETS_H
#define RINGSTEP_SOCKETS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Families of addresses, as in the C library's AF_. */
enum ringstep_address_family {
	RINGSTEP_AF_UNIX = 1,
	RINGSTEP_AF_INET = 2,
	RINGSTEP_AF_INET6 = 10,
};

/* Types of sockets, and flags to go with them, as in the C library's SOCK_. */
enum ringstep_socket_type {
	RINGSTEP_SOCK_STREAM = 1,
	RINGSTEP_SOCK_DGRAM = 2,
	RINGSTEP_SOCK_SEQPACKET = 5,
	RINGSTEP_SOCK_NONBLOCK = 04000,
	RINGSTEP_SOCK_CLOEXEC = 02000000,
};

/* Flags of transfers and of received messages, as in the C library's MSG_. */
enum ringstep_message_flags {
	RINGSTEP_MSG_PEEK = 2,
	RINGSTEP_MSG_CTRUNC = 8, /* of a received message: control data was cut off */
	RINGSTEP_MSG_TRUNC = 32, /* of a received message: it was cut off */
	RINGSTEP_MSG_DONTWAIT = 64,
	RINGSTEP_MSG_WAITALL = 256,
	RINGSTEP_MSG_NOSIGNAL = 16384,
	RINGSTEP_MSG_MORE = 32768,
};

/* What ringstep_prep_shutdown() ends, as in the C library's SHUT_. */
enum ringstep_shutdown {
	RINGSTEP_SHUT_RD = 0,
	RINGSTEP_SHUT_WR = 1,
	RINGSTEP_SHUT_RDWR = 2,
};

/* Commands of ringstep_prep_cmd_sock(), as in the UAPI's SOCKET_URING_OP_. */
enum ringstep_socket_command {
	RINGSTEP_SOCKET_SIOCINQ = 0,	/* how many bytes can be received; Linux 6.7 */
	RINGSTEP_SOCKET_SIOCOUTQ = 1,	/* how many bytes wait to be sent; Linux 6.7 */
	RINGSTEP_SOCKET_GETSOCKOPT = 2, /* Linux 6.7 */
	RINGSTEP_SOCKET_SETSOCKOPT = 3, /* Linux 6.7 */
};

/* An address of IPv4: struct sockaddr_in. */
struct ringstep_ipv4_address {
	__u16 family;  /* RINGSTEP_AF_INET */
	__u16 port;    /* in network order: ringstep_network16() */
	__u32 address; /* in network order */
	__u8 zero[8];
};

/* An address of IPv6: struct sockaddr_in6. */
struct ringstep_ipv6_address {
	__u16 family; /* RINGSTEP_AF_INET6 */
	__u16 port;   /* in network order: ringstep_network16() */
	__u32 flow;   /* in network order */
	__u8 address[16];
	__u32 scope; /* the index of an interface, or 0 */
};

/* An address of a Unix socket: struct sockaddr_un. */
struct ringstep_unix_address {
	__u16 family;	/* RINGSTEP_AF_UNIX */
	char path[108]; /* begins with 0 if the address is abstract */
};

/* An address of any family, as large as the C library's struct sockaddr_storage. */
union ringstep_socket_address {
	__u16 family; /* enum ringstep_address_family, or another one */
	struct ringstep_ipv4_address ipv4;
	struct ringstep_ipv6_address ipv6;
	struct ringstep_unix_address local;
	__u64 words[16]; /* all of it */
};

/* A piece of memory to transfer: struct iovec. */
struct ringstep_iovec {
	__u64 base; /* a user address: ringstep_address() */
	__u64 length;
};

/* A message: struct msghdr. All addresses are user addresses: ringstep_address(). */
struct ringstep_message {
	__u64 name; /* the address to send to, or where to put the sender's; 0: none */
	__u32 name_length;
	__u32 __reserved_length;
	__u64 vectors;	    /* an array of struct ringstep_iovec */
	__u64 vector_count; /* elements of that array */
	__u64 control;	    /* control data, a struct cmsghdr; 0: none */
	__u64 control_length;
	__u32 flags; /* set by the kernel: enum ringstep_message_flags */
	__u32 __reserved_flags;
};

/*
 * What a multishot recvmsg puts in front of a message in its buffer: struct io_uring_recvmsg_out. Behind it are room for the name, room for
 * the control data, each as long as the struct ringstep_message of the request says, and the bytes of the message.
 */
struct ringstep_recvmsg_header {
	__u32 name_length;    /* of the sender's address; longer than the room for it if it was cut off */
	__u32 control_length; /* of the control data */
	__u32 payload_length; /* of the message, the part included that had no room */
	__u32 flags;	      /* enum ringstep_message_flags */
};

/* Returns where the sender's address is in the buffer of a multishot recvmsg. */
static inline __u64 ringstep_recvmsg_name(void)
{
	return sizeof(struct ringstep_recvmsg_header);
}

/* Returns where the control data is in the buffer of a multishot recvmsg, whose request had this message. */
static inline __u64 ringstep_recvmsg_control(const struct ringstep_message *message)
{
	return ringstep_recvmsg_name() + message->name_length;
}

/*
 * Returns where the bytes of the message are in the buffer of a multishot recvmsg. The verifier does not know the number, so use it with a
 * mask or a view (ringstep/bytes.bpf.h).
 */
static inline __u64 ringstep_recvmsg_payload(const struct ringstep_message *message)
{
	return ringstep_recvmsg_control(message) + message->control_length;
}

/* Returns how many bytes of the message are in the buffer: 0 if the completion's result is an error, or too short to be true. */
static inline __u64 ringstep_recvmsg_payload_length(const struct ringstep_message *message, __s32 result)
{
	const __u64 begin = ringstep_recvmsg_payload(message);
	__u32 end = 0;

	if (result > 0)
		__builtin_memcpy(&end, &result, sizeof(end)); /* no cast, as C++ applications may warn of those */
	return end > begin ? end - begin : 0;
}

/* Returns a number of 16 bits in network order, or turns one back into the machine's order. */
static inline __u16 ringstep_network16(__u16 number)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap16(number);
#else
	return number;
#endif
}

/* Returns a number of 32 bits in network order, or turns one back into the machine's order. */
static inline __u32 ringstep_network32(__u32 number)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap32(number);
#else
	return number;
#endif
}

#endif /* RINGSTEP_SOCKETS_H */
