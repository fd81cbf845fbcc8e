# Packages the array as an IP: ports and interfaces from the wrapper's X_INTERFACE attributes, registers from settings.tcl.

create_project -force package [file join $work package] -part $part
add_files -norecurse [list [file join $here rtl spikeloom.v] [file join $here rtl spikeloom_ip.v]]
set_property top $wrapper [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir [file join $work ip] -vendor $ip_vendor -library $ip_library -taxonomy /UserIP -import_files -set_current true -force
set core [ipx::current_core]
set_property name $ip_name $core
set_property version $ip_version $core
set_property display_name "Spikeloom spiking core array" $core
set_property description "Spiking core array with digest $ip_digest" $core
set_property supported_families {zynq Production zynquplus Production zynquplusRFSOC Production} $core

# The interfaces must be those of the description: a wrapper whose attributes were not understood would connect nothing.
foreach interface $ip_interfaces {
    lassign $interface name bus mode
    set found [ipx::get_bus_interfaces $name -of_objects $core]
    if {$found eq ""} {
        error "the packager found no interface $name in the wrapper"
    }
    if {[get_property interface_mode $found] ne $mode} {
        error "interface $name is [get_property interface_mode $found], not $mode"
    }
}

foreach map [ipx::get_memory_maps -of_objects $core] {
    ipx::remove_memory_map [get_property name $map] $core
}
set map [ipx::add_memory_map s_axi $core]
set_property slave_memory_map_ref s_axi [ipx::get_bus_interfaces s_axi -of_objects $core]
set block [ipx::add_address_block Reg $map]
set_property usage register $block
set_property width 32 $block
set_property range $ip_register_space $block
foreach entry $ip_registers {
    lassign $entry name offset access meaning fields
    set register [ipx::add_register $name $block]
    set_property address_offset $offset $register
    set_property size 32 $register
    set_property access $access $register
    set_property description $meaning $register
    foreach field $fields {
        lassign $field name offset width meaning
        set bits [ipx::add_field $name $register]
        set_property bit_offset $offset $bits
        set_property bit_width $width $bits
        set_property access $access $bits
        set_property description $meaning $bits
    }
}
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
