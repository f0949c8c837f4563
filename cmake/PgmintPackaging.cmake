# What `cmake --install` puts where, and the Debian package (`cpack -G DEB` in a build folder).
include(GNUInstallDirs)

# Manual pages and completion come from the command table, through a small program of the build.
set(manual_dir "${CMAKE_BINARY_DIR}/manual")
add_custom_command(OUTPUT "${manual_dir}/stamp"
  COMMAND "${CMAKE_COMMAND}" -E rm -rf "${manual_dir}"
  COMMAND pgmint_manual "${manual_dir}"
  COMMAND sh -c "gzip -9 -n '${manual_dir}'/man1/*.1 '${manual_dir}'/man5/*.5"
  COMMAND sh -c "gzip -9 -n -c '${CMAKE_SOURCE_DIR}/CHANGELOG.md' > '${manual_dir}/changelog.gz'"
  COMMAND "${CMAKE_COMMAND}" -E touch "${manual_dir}/stamp"
  DEPENDS pgmint_manual "${CMAKE_SOURCE_DIR}/CHANGELOG.md"
  COMMENT "Manual pages and completion" VERBATIM)
add_custom_target(manual ALL DEPENDS "${manual_dir}/stamp")

install(TARGETS pgmint RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
# The runbook's names for the same program.
foreach(name backup-db restore-db)
  install(CODE "file(CREATE_LINK pgmint \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/${name}\" SYMBOLIC)")
endforeach()
install(DIRECTORY "${manual_dir}/man1" "${manual_dir}/man5" DESTINATION "${CMAKE_INSTALL_MANDIR}")
install(FILES "${manual_dir}/pgmint.bash" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME pgmint)
install(FILES README.md packaging/pgmint.toml.example packaging/recovery-plan.example.toml docs/manual/emergency.md docs/manual/exit-codes.md docs/manual/logical-backups.md docs/manual/restore.md docs/manual/retention.md "${manual_dir}/changelog.gz" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" RENAME copyright)

set(CPACK_PACKAGE_NAME pgmint)
set(CPACK_PACKAGE_CONTACT "pgmint maintainers <pgmint@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "back up PostgreSQL, and bring it back to any moment")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"pgmint keeps full backups and the write-ahead log of PostgreSQL clusters (13 to
 18) in one encrypted repository, and restores them to any moment in between.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)      # dependencies as the dynamic linker sees them
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libpq5, libcurl4")  # loaded at run time (src/postgres/connection.cc, src/service/http_probe.cc), so the linker does not see them
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "tzdata")  # for [cluster.NAME.retention] timezone
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
include(CPack)
