/* Debian's libgcc_eh is built for glibc and asks `_dl_find_object` which loaded object holds an address, to find that object's unwind table.
 * musl has only `dl_iterate_phdr`: this answers the one by the other. The layout is glibc's <dlfcn.h>. */
#define _GNU_SOURCE
#include <link.h>
#include <stddef.h>

struct object {
    unsigned long long flags;
    void *begin, *end;
    struct { ElfW(Addr) base; } *map;
    void *unwind_table;
    unsigned long long reserved[7];
};

struct search {
    ElfW(Addr) address;
    struct object *found;
};

/* A static program is one object. */
static struct { ElfW(Addr) base; } only_map;

static int holds(struct dl_phdr_info *info, size_t size, void *data)
{
    struct search *search = data;
    ElfW(Addr) begin = 0, end = 0, table = 0;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        ElfW(Addr) at = info->dlpi_addr + header->p_vaddr;

        if (header->p_type == PT_GNU_EH_FRAME)
            table = at;
        else if (header->p_type == PT_LOAD && search->address >= at && search->address < at + header->p_memsz) {
            begin = at;
            end = at + header->p_memsz;
        }
    }
    if (!begin || !table)
        return 0;
    only_map.base = info->dlpi_addr;
    search->found->flags = 0;
    search->found->begin = (void *)begin;
    search->found->end = (void *)end;
    search->found->map = (void *)&only_map;
    search->found->unwind_table = (void *)table;
    return 1;
}

int _dl_find_object(void *address, struct object *found)
{
    struct search search = { (ElfW(Addr))address, found };

    return dl_iterate_phdr(holds, &search) == 1 ? 0 : -1;
}
