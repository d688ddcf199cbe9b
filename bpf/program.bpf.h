// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Programs and libraries of protected processes: who writes into one of these files has its bytes run by
// them. Noted when a protected process maps a file to run it, and asked about when a file is opened for writing.
#ifndef CT_PROGRAM_BPF_H
#define CT_PROGRAM_BPF_H

#include "decide.bpf.h"

#define PROT_EXEC 4
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define OVERLAYS 2 // within one another

// An open file's pages are its inode's: what is no file will not have that.
static __always_inline bool is_file(struct file *file)
{
    struct address_space *pages = BPF_CORE_READ(file, f_mapping);
    return pages != NULL && pages == BPF_CORE_READ(file, f_inode, i_mapping);
}

// The file below one of an overlay: its private data, or, from 6.14 on, what that begins with. NULL for neither.
static __always_inline struct file *file_below(struct file *file)
{
    struct file *below = BPF_CORE_READ(file, private_data);
    if (is_file(below)) {
        return below;
    }
    if (bpf_probe_read_kernel(&below, sizeof(below), below) != 0) {
        return NULL;
    }
    return is_file(below) ? below : NULL;
}

// The file whose bytes are run: below an overlay, for whoever writes into its layers goes past it.
static __always_inline struct inode *inode_below(struct file *file)
{
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    for (int i = 0; i < OVERLAYS; i++) {
        if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_SUPER_MAGIC) {
            break;
        }
        file = file_below(file);
        if (file == NULL) {
            break;
        }
        inode = BPF_CORE_READ(file, f_inode);
    }
    return inode;
}

// Where a container maps a file to run it that others may still run: what two run neither may write, or the one could change
// the other. That more than two do is not forgotten.
static __always_inline struct ct_program program_of(const struct ct_mark *mark,
                                                    const struct ct_program *before)
{
    __u32 root = mark->root;
    __u32 first = before->tgid != root && mark_of(before->tgid) != NULL ? before->tgid : 0;
    __u32 second = before->other != root && mark_of(before->other) != NULL ? before->other : 0;
    if (before->other == CT_PROGRAM_MANY || (first != 0 && second != 0)) {
        return (struct ct_program){CT_PROGRAM_SHARED, root, CT_PROGRAM_MANY};
    }
    if (first == 0 && second == 0) {
        return (struct ct_program){mark->cgroup, root, 0};
    }
    return (struct ct_program){CT_PROGRAM_SHARED, root, first != 0 ? first : second};
}

static __always_inline bool is_run(const struct ct_program *program)
{
    return program->other == CT_PROGRAM_MANY || mark_of(program->tgid) != NULL ||
           mark_of(program->other) != NULL;
}

// The current process has mapped a file to run it.
static __always_inline void note_program(struct file *file)
{
    struct ct_mark *mark = mark_of(current_tgid());
    if (mark == NULL || file == NULL) {
        return;
    }
    struct inode *inode = inode_below(file);
    const struct ct_program_key key = {.inode = BPF_CORE_READ(inode, i_ino),
                                       .device = BPF_CORE_READ(inode, i_sb, s_dev),
                                       .generation = BPF_CORE_READ(inode, i_generation)};
    struct ct_program value = {.cgroup = mark->cgroup, .tgid = mark->root};
    struct ct_program *before = bpf_map_lookup_elem(&ct_programs, &key);
    if (before != NULL) {
        value = program_of(mark, before);
    }
    bpf_map_update_elem(&ct_programs, &key, &value, BPF_ANY);
}

// Lets all pass: it takes note.
static __always_inline struct verdict on_map(struct file *file, unsigned long prot)
{
    if (file != NULL && (prot & PROT_EXEC) != 0) {
        note_program(file);
    }
    return let_pass();
}

// A regular file that is opened for writing. The processes of its container may write what they run; a container that is
// started again has another cgroup, and finds on its volumes what the one before it ran, so any protected process may
// once the first processes of all that have run it have ended.
static __always_inline struct verdict on_program_write(unsigned long number, unsigned int device,
                                                       unsigned int generation_of_it)
{
    const struct ct_program_key key = {
        .inode = number, .device = device, .generation = generation_of_it};
    struct ct_program *program = bpf_map_lookup_elem(&ct_programs, &key);
    if (program == NULL) {
        return let_pass();
    }
    struct ct_mark *mark = mark_of(current_tgid());
    if (mark != NULL && (!is_run(program) || mark->cgroup == program->cgroup)) {
        return let_pass();
    }
    struct verdict verdict = kernel_wide(CT_V_PROGRAM);
    verdict.victim = verdict.vector != 0 && mark_of(program->tgid) != NULL ? program->tgid : 0;
    return verdict;
}

// The same of an open file, for a tier that is not asked again about the file below an overlay.
static __always_inline struct verdict on_program_file(struct file *file)
{
    struct inode *inode = inode_below(file);
    return on_program_write(BPF_CORE_READ(inode, i_ino), BPF_CORE_READ(inode, i_sb, s_dev),
                            BPF_CORE_READ(inode, i_generation));
}

#endif
